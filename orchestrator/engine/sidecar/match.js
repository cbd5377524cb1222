// Event patterns over a shell's output, and what counts as an error in it (spec 8.7, 8.8).
'use strict'
const vm = require('vm')
const { Cleaner, clean } = require('./terminal')

const FORM = /^\/([\s\S]+)\/([dgimsuy]*)$/
const WINDOW = 300
const DEFAULTS = [{ event: '/error:/i', break: true }, { event: '/errno /i', break: true }, { event: '/error:.*triton/i', break: false }]
const CLOSING = '\n\n\u2588\u2588 ' // the line that the desktop prints after a match; patterns like [^ ]+ reach into it
const RISKY = /[+*}]\)?[^|)]*\)(?:[+*]|\{\d+,)|\\[1-9]|\\k</ // shapes that can backtrack without end
const PATIENCE = 2000 // milliseconds for such a pattern

class InvalidPattern extends Error {}
class SlowPattern extends Error {}

/** Make a RegExp of `/…/flags`; `g` is always on. */
function parse (text) {
  const found = typeof text === 'string' ? FORM.exec(text) : null
  if (!found) throw new InvalidPattern(`\`${String(text)}\` is not a pattern of the form /…/flags`)
  try {
    return new RegExp(found[1], found[2].includes('g') ? found[2] : found[2] + 'g')
  } catch (error) { throw new InvalidPattern(`\`${text}\` is not a valid pattern: ${error.message}`) }
}

let guarded = null
function within (work, pattern) {
  guarded ??= new vm.Script('__pinoctl_work()')
  Object.defineProperty(globalThis, '__pinoctl_work', { value: work, configurable: true })
  try { return guarded.runInThisContext({ timeout: PATIENCE }) } catch (error) {
    if (error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw new SlowPattern(`the pattern \`${pattern.source}\` takes more than ${PATIENCE / 1000} s on this output`)
    throw error
  } finally { delete globalThis.__pinoctl_work }
}

function all (pattern, text) {
  pattern.lastIndex = 0
  const work = () => [...text.matchAll(pattern)]
  return RISKY.test(pattern.source) ? within(work, pattern) : work()
}

function replace (pattern, text) {
  pattern.lastIndex = 0
  const work = () => text.replace(pattern, '')
  return RISKY.test(pattern.source) ? within(work, pattern) : work()
}

/** Follow one shell. */
class Matcher {
  #cleaner = new Cleaner()
  #offset = 0 // of the buffer's start in all that was said
  #decided = 0
  #closed = false

  constructor ({ handlers, interactive = false, banner = '', window = null }) {
    this.interactive = interactive
    this.window = window
    this.buffer = clean(banner)
    this.event = undefined
    this.handlers = [...(Array.isArray(handlers) ? handlers : []), ...DEFAULTS]
      .filter(handler => handler && handler.event)
      .map(handler => ({ handler, pattern: parse(handler.event), seen: 0, spent: false }))
  }

  outcome (kind = 'none', extra = {}) {
    return { kind, event: this.event, errors: [], triggers: [], notifies: [], behind: 0, buffer: this.buffer, ...extra }
  }

  feed (chunk) {
    const text = this.#cleaner.feed(chunk)
    if (this.#closed || text === '') return this.outcome()
    const kept = this.window === null ? this.buffer.slice(-WINDOW) : this.buffer
    const joined = kept + text
    this.#offset += this.buffer.length - kept.length
    const start = this.window === null ? 0 : Math.max(0, joined.length - this.window)
    this.#offset += start
    this.buffer = joined.slice(start)
    const out = this.outcome()
    for (const entry of this.handlers) {
      const end = this.#handle(entry, out)
      if (end) {
        this.#closed = true
        out.kind = end
        if (end === 'done' || end === 'kill') out.behind = this.#behind(chunk, text.length)
        break
      }
    }
    out.event = this.event
    return out
  }

  #fresh (entry, text) {
    const found = all(entry.pattern, text).filter(match => this.#offset + match.index + match[0].length > entry.seen)
    for (const match of found) entry.seen = Math.max(entry.seen, this.#offset + match.index + match[0].length)
    return found
  }

  #handle (entry, out) {
    const { handler } = entry
    if (entry.spent) return null
    const [first] = this.#fresh(entry, this.buffer)
    if (!first) return null
    const errors = handler.break ? this.errors(this.buffer) : []
    const captures = handler.break === undefined || handler.break === null || (handler.break !== false && (!handler.break || errors.length > 0))
    if (captures || handler.done || handler.kill || handler.trigger) this.event = first
    if (handler.once) entry.spent = true
    if (handler.trigger) out.triggers.push([handler.trigger, first])
    if (handler.notify) out.notifies.push(handler.notify)
    if (handler.kill) return this.#extend(entry, first, 'kill')
    if (handler.break && errors.length > 0 && !this.interactive) {
      out.errors = errors
      return 'break'
    }
    return handler.done ? this.#extend(entry, first, 'done') : null
  }

  /** Count the characters of the chunk after the line in which the match ended: they came later than what it said. */
  #behind (chunk, length) {
    const end = this.#decided - (this.buffer.length - length)
    let seen = 0
    for (let from = 0, next; (next = chunk.indexOf('\n', from) + 1) > 0; from = next) {
      seen += clean(chunk.slice(from, next)).length
      if (seen >= end) return chunk.length - next
    }
    return 0
  }

  #extend (entry, first, kind) {
    this.#decided = first.index + first[0].length
    const longer = this.#fresh(entry, this.buffer + CLOSING).find(match => match.index === first.index)
    if (longer) {
      longer.input = first.input
      this.event = longer
    }
    return kind
  }

  /** List what the break patterns find once newlines, and what `break: false` tolerates, are taken out. */
  errors (text) {
    let rest = text.replace(/[\r\n]/g, '')
    for (const { handler, pattern } of this.handlers) if (handler.break === false) rest = replace(pattern, rest)
    const found = []
    for (const { handler, pattern } of this.handlers) if (handler.break) for (const match of all(pattern, rest)) found.push(match[0])
    return found
  }

  end (text) { return this.outcome('none', { errors: this.errors(text) }) }
}

class Matchers {
  #open = new Map()

  open ({ key, ...options }) {
    this.#open.delete(key)
    try { this.#open.set(key, new Matcher(options)) } catch (error) {
      if (!(error instanceof InvalidPattern)) throw error
      this.#open.set(key, { feed: invalid(error), end: invalid(error) })
    }
    return undefined
  }

  #of (key) {
    const matcher = this.#open.get(key)
    if (!matcher) throw new Error(`no shell \`${key}\` is being matched`)
    return matcher
  }

  feed ({ key, text }) { return this.#of(key).feed(text) }
  end ({ key, text }) { return this.#of(key).end(text) }
  close ({ key }) { this.#open.delete(key) }

  /** `shell.enter` (7.1): the first handler with a `return` whose pattern is on the screen. */
  screen ({ handlers, text, raw, chunk }, render) {
    const screen = text.replace(/[\r\n]/g, '')
    for (const handler of Array.isArray(handlers) ? handlers : []) {
      if (!handler || !handler.event || !Object.hasOwn(handler, 'return')) continue
      const matches = all(parse(handler.event), screen)
      if (matches.length) return { matched: true, value: render(handler.return, { event: { raw, cleaned: chunk, matches } }) }
    }
    return { matched: false, value: undefined }
  }
}

function invalid (error) {
  return () => ({ kind: 'invalid', event: undefined, errors: [error.message], triggers: [], notifies: [], buffer: '' })
}

module.exports = { Matchers, Matcher, parse, InvalidPattern }

// Terminal text as event patterns see it: no escape sequences, LF alone (spec 8.7).
'use strict'
const SEQUENCE = /(?:\x1b\[|\u009b|\u2190\[)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[ -/]+[0-~]|\x1b[0-Z\\^-~]/g
const UNFINISHED = /(?:\x1b|\u009b|\u2190)(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*|[0-?]*)?$/
const LONGEST_TAIL = 4096

/** Clean the chunks of one terminal; a sequence or CRLF that a chunk cuts in two is taken as one. */
class Cleaner {
  #tail = ''
  #afterReturn = false

  feed (chunk) {
    let text = this.#tail + chunk
    this.#tail = ''
    if (/[\x1b\u009b\u2190]/.test(text)) {
      const from = Math.max(text.lastIndexOf('\x1b'), text.lastIndexOf('\u009b'), text.lastIndexOf('\u2190'))
      // ESC \ ends a string that began before it, so the start to look at may be the one before
      const earlier = text[from] === '\x1b' && (from === text.length - 1 || text[from + 1] === '\\') ? text.lastIndexOf('\x1b', from - 1) : -1
      for (const start of earlier >= 0 ? [earlier, from] : [from]) {
        if (text.length - start > LONGEST_TAIL) continue
        const found = UNFINISHED.exec(text.slice(start))
        if (found && found.index === 0 && !complete(found[0])) {
          this.#tail = text.slice(start)
          text = text.slice(0, start)
          break
        }
      }
      text = text.replace(SEQUENCE, '')
    }
    if (text === '') return text
    if (this.#afterReturn && text[0] === '\n') text = text.slice(1)
    this.#afterReturn = text === '' ? false : text[text.length - 1] === '\r'
    return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text
  }
}

function complete (text) {
  SEQUENCE.lastIndex = 0
  const found = SEQUENCE.exec(text)
  SEQUENCE.lastIndex = 0
  return found !== null && found.index === 0 && found[0].length === text.length && !/^\x1b[\]PX^_[]$/.test(text)
}

const clean = text => new Cleaner().feed(text)

module.exports = { Cleaner, clean }

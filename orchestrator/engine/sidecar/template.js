// The template language (spec 6): rendering, its passes (5.3), and `when` (5.4).
'use strict'
const { isPlain } = require('./codec')

const TRIPLE = /^\{\{\{.+\}\}\}$/
const PURE = /^\{\{.+\}\}$/
const EACH = /\{\{(.+?)\}\}/g
const PENDING = /\{\{.+\}\}/
const UNWRAP = /\{\{\{(.+?)\}\}\}/g
const LODASH = /(?<![\w$.])_(?![\w$])/
const PORT = /(?<![\w$.])port(?![\w$])/
const PASSES = 4
const CACHE_LIMIT = 5000

/** Escapes a render until the nearest plain object, which then stays as it is (6.1, rule 7). */
class TemplateSyntaxError extends Error {}

let compiled = new Map()
let lodash = null
const getLodash = () => (lodash ??= require('./vendor/lodash.min.js'))

/** What a template sees: names in a fixed order, and their values. */
class Scope {
  constructor (values) {
    this.names = Object.keys(values)
    this.values = Object.values(values)
    this.port = values.port
    this.key = this.names.join()
    this.portMissed = false // an expression asked for a `port` that was not given
  }
}

function compile (expression, scope) {
  const key = scope.key + '\n' + expression
  let entry = compiled.get(key)
  if (entry === undefined) {
    const wantsLodash = LODASH.test(expression) && !scope.names.includes('_')
    try {
      const run = new Function(...scope.names, ...(wantsLodash ? ['_'] : []), 'return ' + expression)
      entry = { run, wantsLodash, wantsPort: PORT.test(expression), error: null }
    } catch (error) { entry = { error: error.message } }
    if (compiled.size >= CACHE_LIMIT) compiled = new Map()
    compiled.set(key, entry)
  }
  if (entry.error !== null) throw new TemplateSyntaxError(`syntax error in \`{{${expression}}}\`: ${entry.error}`)
  return entry
}

/** Evaluate one expression; `failed` where it throws. Throws TemplateSyntaxError. */
function attempt (expression, scope, failed) {
  const { run, wantsLodash, wantsPort } = compile(expression, scope)
  if (wantsPort && scope.port === undefined) scope.portMissed = true
  try { return wantsLodash ? run(...scope.values, getLodash()) : run(...scope.values) } catch { return failed }
}

function renderString (text, scope, undefinedAllowed) {
  if (!text.includes('{{') || TRIPLE.test(text)) return text
  if (PURE.test(text)) {
    const value = attempt(text.slice(2, -2), scope, text)
    return value === undefined && !undefinedAllowed ? text : value
  }
  let out = text
  try {
    for (const [whole, expression] of text.matchAll(EACH)) {
      const value = attempt(expression, scope)
      if (value === undefined) continue
      let shown
      try { shown = String(value) } catch { continue }
      out = out.replaceAll(whole, shown) // `$` patterns count here (6.1, rule 4)
    }
  } catch (error) {
    if (error instanceof TemplateSyntaxError) return text
    throw error
  }
  return out
}

function renderObject (value, scope, allowed) {
  try {
    const out = {}
    for (const key of Object.keys(value)) {
      const shown = key.includes('{{') ? renderString(key, scope, false) : key
      if (shown === null || shown === false) continue
      define(out, shown, renderAny(value[key], scope, allowed))
    }
    return out
  } catch (error) {
    if (error instanceof TemplateSyntaxError) return value
    throw error
  }
}

function define (object, key, value) {
  if (key === '__proto__') Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
  else object[key] = value
}

function renderAny (value, scope, allowed) {
  if (typeof value === 'string') return renderString(value, scope, allowed)
  if (Array.isArray(value)) return value.index !== undefined && 'input' in value ? value : value.map(item => renderAny(item, scope, allowed))
  return isPlain(value) ? renderObject(value, scope, allowed) : value
}

/** Say whether a property value or key still holds a template; direct elements of arrays do not count (5.3). */
function pending (value) {
  if (Array.isArray(value)) return value.some(item => typeof item === 'object' && item !== null && pending(item))
  if (!isPlain(value)) return false
  for (const key of Object.keys(value)) {
    if (PENDING.test(key)) return true
    const item = value[key]
    if (typeof item === 'string' ? PENDING.test(item) : pending(item)) return true
  }
  return false
}

function unwrapTriple (value) {
  if (typeof value === 'string') return value.includes('{{{') ? value.replace(UNWRAP, '{{$1}}') : value
  if (Array.isArray(value)) return value.index !== undefined && 'input' in value ? value : value.map(unwrapTriple)
  if (!isPlain(value)) return value
  const out = {}
  for (const key of Object.keys(value)) define(out, unwrapTriple(key), unwrapTriple(value[key]))
  return out
}

/** Render once; a syntax error that no object stops leaves the value as it is. */
function renderOnce (value, scope) {
  try { return renderAny(value, scope, false) } catch (error) {
    if (error instanceof TemplateSyntaxError) return value
    throw error
  }
}

/** Render a step (5.3): up to four passes, then `{{{x}}}` becomes `{{x}}`. */
function renderStep (value, scope) {
  let out = { value }
  for (let pass = 0; pass < PASSES; pass++) {
    out = renderOnce(out, scope)
    if (!pending(out)) break
  }
  return unwrapTriple(out).value
}

/** Decide `when` (5.4) from its rendered value. Throws TemplateSyntaxError. */
function decideWhen (value, scope) {
  return value ? Boolean(renderAny(value, scope, true)) : false
}

/** List the strings that look like two templates and are therefore left alone (6.2, row 16). */
function trapWarnings (value, scope, found = []) {
  if (typeof value === 'string') {
    if (!PURE.test(value) || TRIPLE.test(value)) return found
    try { compile(value.slice(2, -2), scope) } catch {
      const parts = [...value.matchAll(EACH)]
      if (parts.length > 1 && parts.every(([, expression]) => compiles(expression, scope))) {
        found.push(`\`${value}\` begins and ends with a template, so it is taken for one expression and stays as it is, with the whole object around it`)
      }
    }
  } else if (Array.isArray(value)) value.forEach(item => trapWarnings(item, scope, found))
  else if (isPlain(value)) Object.keys(value).forEach(key => { trapWarnings(key, scope, found); trapWarnings(value[key], scope, found) })
  return found
}

function compiles (expression, scope) {
  try { compile(expression, scope); return true } catch { return false }
}

module.exports = { Scope, getLodash, renderOnce, renderStep, decideWhen, trapWarnings, TemplateSyntaxError }

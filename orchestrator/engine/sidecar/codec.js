// Values as JSON text and back. Launchers share this realm and may patch JSON.stringify or Array.prototype,
// so encoding uses only what was captured before any launcher ran, string concatenation and plain loops.
'use strict'
const { stringify, parse } = JSON
const { apply, ownKeys, getPrototypeOf } = Reflect
const { isArray } = Array
const { isNativeError, isProxy, isPromise, isDate, isRegExp, isUint8Array, isAnyArrayBuffer, isMap, isSet } = require('util').types
const { isFinite: finite } = Number
const propertyIsEnumerable = Object.prototype.propertyIsEnumerable
const hasOwn = Object.hasOwn
const ObjectPrototype = Object.prototype
const BufferFrom = Buffer.from
const bufferToString = Buffer.prototype.toString
const toISOString = Date.prototype.toISOString
const regexpToString = RegExp.prototype.toString
const MapGet = Map.prototype.get, MapSet = Map.prototype.set, MapDelete = Map.prototype.delete
const WeakMapGet = WeakMap.prototype.get, WeakMapSet = WeakMap.prototype.set
const makeString = String
const MAX_DEPTH = 400

const byHandle = new Map()
const byValue = new WeakMap()
let prefix = 'h'
let counter = 0

/** Make handles unguessable, so that data which looks like one is not taken for one. */
function setPrefix (text) { prefix = text }

/** Keep a live value under a handle that belongs to `owner` (an array of handles) until `release`. */
function handleOf (value, owner) {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  let known = isObject ? apply(WeakMapGet, byValue, [value]) : undefined
  if (known === undefined || apply(MapGet, byHandle, [known]) === undefined) {
    known = prefix + (++counter)
    apply(MapSet, byHandle, [known, { value }])
    if (isObject) apply(WeakMapSet, byValue, [value, known])
    if (owner) owner[owner.length] = known
  }
  return known
}

/** Forget the handles of a run. */
function release (owner) {
  for (let i = 0; i < owner.length; i++) apply(MapDelete, byHandle, [owner[i]])
  owner.length = 0
}

function text (value, fallback) {
  try { return typeof value === 'string' ? value : makeString(value) } catch { return fallback }
}

function tagged (tag, label, value, owner, extra) {
  return '{' + stringify(tag) + ':' + stringify(label) + (extra || '') + ',"handle":' + stringify(handleOf(value, owner)) + '}'
}

function constructorName (value) {
  try {
    const proto = getPrototypeOf(value)
    const name = proto && proto.constructor && proto.constructor.name
    return typeof name === 'string' && name ? name : 'Object'
  } catch { return 'Object' }
}

function functionName (value) {
  try { return typeof value.name === 'string' ? value.name : '' } catch { return '' }
}

/** Say whether templates walk an object and JSON carries it: its prototype is Object.prototype or null. */
function isPlain (value) {
  if (typeof value !== 'object' || value === null || isArray(value)) return false
  const proto = getPrototypeOf(value)
  return proto === ObjectPrototype || proto === null
}

function encodeEntries (value, owner, above, depth) {
  const keys = ownKeys(value)
  let out = ''
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i]
    if (typeof key !== 'string' || !apply(propertyIsEnumerable, value, [key])) continue
    let item
    try { item = value[key] } catch { item = undefined }
    out += (out ? ',' : '') + stringify(key) + ':' + encodeAt(item, owner, above, depth + 1)
  }
  return '{' + out + '}'
}

function encodeArray (value, owner, above, depth) {
  let out = ''
  for (let i = 0; i < value.length; i++) out += (i ? ',' : '') + encodeAt(value[i], owner, above, depth + 1)
  return '[' + out + ']'
}

function encodeAt (value, owner, above, depth) {
  switch (typeof value) {
    case 'string': return stringify(value)
    case 'number': return finite(value) ? '' + value : tagged('$opaque', 'number', value, owner, ',"text":"' + value + '"')
    case 'boolean': return value ? 'true' : 'false'
    case 'undefined': return '{"$undefined":true}'
    case 'function': return tagged('$function', functionName(value), value, owner)
    case 'bigint': return tagged('$opaque', 'bigint', value, owner, ',"text":' + stringify(text(value, '')))
    case 'symbol': return tagged('$opaque', 'symbol', value, owner)
  }
  if (value === null) return 'null'
  for (let seen = above; seen; seen = seen.up) if (seen.value === value) return tagged('$opaque', constructorName(value), value, owner, ',"cycle":true')
  if (depth > MAX_DEPTH) return tagged('$opaque', constructorName(value), value, owner, ',"deep":true')
  if (isUint8Array(value)) {
    const buffer = BufferFrom(value.buffer, value.byteOffset, value.byteLength)
    return '{"$buffer":' + stringify(apply(bufferToString, buffer, ['base64'])) + '}'
  }
  const here = { value, up: above }
  if (isArray(value)) {
    const body = encodeArray(value, owner, here, depth)
    if (typeof value.index === 'number' && hasOwn(value, 'input')) {
      return '{"$match":' + body + ',"index":' + encodeAt(value.index, owner, here, depth) + ',"groups":' +
        (value.groups ? encodeEntries(value.groups, owner, here, depth) : 'null') + ',"input":' + stringify(text(value.input, '')) + '}'
    }
    return body
  }
  if (isNativeError(value)) return tagged('$error', text(value.message, ''), value, owner, ',"name":' + stringify(text(value.name, 'Error')))
  if (isPlain(value)) return encodeEntries(value, owner, here, depth)
  if (isDate(value)) {
    let iso = 'Invalid Date'
    try { iso = apply(toISOString, value, []) } catch {}
    return tagged('$opaque', 'Date', value, owner, ',"text":' + stringify(iso))
  }
  if (isRegExp(value)) return tagged('$opaque', 'RegExp', value, owner, ',"text":' + stringify(text(apply(regexpToString, value, []), '')))
  if (isPromise(value) || isMap(value) || isSet(value) || isAnyArrayBuffer(value) || isProxy(value)) return tagged('$opaque', constructorName(value), value, owner)
  return tagged('$opaque', constructorName(value), value, owner, depth < 3 && !value.$opaque ? ',"fields":' + encodeEntries(value, owner, here, depth) : '')
}

/** Return the JSON text of any value; what JSON cannot hold gets a handle that `owner` collects. */
function encode (value, owner) { return encodeAt(value, owner, null, 0) }

function revive (value) {
  if (typeof value !== 'object' || value === null) return value
  if (isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = revive(value[i])
    return value
  }
  if (value.$undefined === true) return undefined
  if (typeof value.handle === 'string') {
    const held = apply(MapGet, byHandle, [value.handle])
    if (held) return held.value
  }
  if (typeof value.$buffer === 'string') return BufferFrom(value.$buffer, 'base64')
  if (isArray(value.$match)) {
    const match = revive(value.$match)
    match.index = value.index
    match.input = value.input
    match.groups = value.groups ? revive(value.groups) : undefined
    return match
  }
  const keys = ownKeys(value)
  for (let i = 0; i < keys.length; i++) value[keys[i]] = revive(value[keys[i]])
  return value
}

/** Turn JSON text from Python into live values; text without a `$` key needs no second walk. */
function decode (line) {
  const value = parse(line)
  return apply(includes, line, ['"$']) || apply(includes, line, ['"handle"']) ? revive(value) : value
}
const includes = String.prototype.includes

module.exports = { encode, decode, isPlain, release, setPrefix }

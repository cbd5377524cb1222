// Dot paths of local.*, global.* and json.* (spec 7.3), with the meaning that lodash gives them.
'use strict'
const FORBIDDEN = new Set(['__proto__', 'constructor', 'prototype'])

/** Split `a.b[0]["c.d"]` into its keys. */
function split (text) {
  const keys = []
  const pattern = /[^.[\]]+|\[(?:([^"'][^[]*)|(["'])((?:(?!\2)[^\\]|\\.)*?)\2)\]|(?=(?:\.|\[\])(?:\.|\[\]|$))/g
  if (text.startsWith('.')) keys.push('')
  for (const found of text.matchAll(pattern)) {
    keys.push(found[2] ? found[3].replace(/\\(\\)?/g, '$1') : found[1] !== undefined ? found[1].trim() : found[0])
  }
  return keys.length ? keys : [text]
}

const isObject = value => (typeof value === 'object' && value !== null) || typeof value === 'function'

/** Set one path; undefined parts become objects, null and other plain values refuse. A key of its own wins over the path. */
function setPath (root, text, value) {
  const keys = text in root ? [text] : split(text)
  if (keys.some(key => FORBIDDEN.has(key))) return
  let at = root
  for (let i = 0; i < keys.length - 1; i++) {
    if (at[keys[i]] === undefined) at[keys[i]] = {}
    if (!isObject(at[keys[i]])) throw new TypeError(`cannot set ${keys[i + 1]} of ${at[keys[i]]}`)
    at = at[keys[i]]
  }
  at[keys[keys.length - 1]] = value
}

/** Remove one path; an element of an array is cut out, and what follows it moves up. */
function removePath (root, text) {
  const keys = Object.hasOwn(root, text) ? [text] : split(text)
  let at = root
  for (let i = 0; i < keys.length - 1; i++) {
    if (!isObject(at)) return
    at = at[keys[i]]
  }
  const last = keys[keys.length - 1]
  if (!isObject(at) || FORBIDDEN.has(last)) return
  if (Array.isArray(at) && /^\d+$/.test(last)) at.splice(Number(last), 1)
  else delete at[last]
}

/** Return what one path leads to. */
function getPath (root, text) {
  if (isObject(root) && Object.hasOwn(root, text)) return root[text]
  return split(text).reduce((at, key) => at === undefined || at === null ? undefined : at[key], root)
}

/** Apply `set`, `rm` or `replace` to a document and return it: an array as params of `set` takes its place. */
function edit (root, op, params) {
  if (op === 'replace' || (op === 'set' && Array.isArray(params))) return params
  if (op === 'set' && isObject(params)) {
    for (const key of Object.keys(params)) try { setPath(root, key, params[key]) } catch {} // a failing key is skipped (7.3)
  } else if (op === 'rm') {
    for (const key of Array.isArray(params) ? params : [params]) if (typeof key === 'string' || typeof key === 'number') try { removePath(root, String(key)) } catch {}
  }
  return root
}

module.exports = { split, setPath, removePath, getPath, edit }

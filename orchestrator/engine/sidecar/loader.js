// Load launcher files (spec 2.1, 2.2): every load executes the file, and all that it required, anew.
'use strict'
const fs = require('fs')
const path = require('path')
const { types } = require('util')
const { pathToFileURL } = require('url')

const OWN = __dirname + path.sep
const modules = new Map() // ES modules that were loaded: file -> {stamp, generation, space}

/** A file that is there but does not load; `message` names the reason. */
const LARGEST = 16e6 // bytes

class LoadFailure extends Error {
  constructor (message, about) { super(message, about); this.code = about?.code }
}

function evict (file, seen = new Set()) {
  if (seen.has(file) || file.startsWith(OWN)) return
  seen.add(file)
  const cached = require.cache[file]
  if (!cached) return
  for (const child of cached.children) evict(child.filename || child.id, seen)
  delete require.cache[file]
}

function unwrap (value) {
  if (types.isModuleNamespaceObject(value)) return 'default' in value ? value.default : { ...value }
  if (value && (typeof value === 'object' || typeof value === 'function') && value.__esModule && 'default' in value) return value.default
  return value
}

function construct (value) {
  if (typeof value !== 'function') return value
  try { return new value() } catch { return value } // the desktop tries the constructor first, whatever was exported
}

/** Describe the state of an ES module and what it imports by relative path, to see whether it must be read again. */
function stamp (file, seen = new Set()) {
  if (seen.has(file)) return ''
  seen.add(file)
  let out = file
  try {
    const { mtimeMs, size } = fs.statSync(file)
    out += `:${mtimeMs}:${size}`
    for (const found of fs.readFileSync(file, 'utf8').matchAll(/(?:from|import)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g)) {
      out += '|' + stamp(path.resolve(path.dirname(file), found[1]), seen)
    }
  } catch {}
  return out
}

let hooked = false
let generation = 0
/** Node keeps ES modules for ever; a new query makes it read them and their imports again. */
async function reimport (file) {
  if (!hooked) {
    hooked = true
    require('module').registerHooks?.({
      resolve (specifier, context, next) {
        const found = next(specifier, context)
        const query = context.parentURL && /\?pinoctl=\d+$/.exec(context.parentURL)
        return query && found.url.startsWith('file:') && !found.url.includes('?') && !found.url.includes('/node_modules/')
          ? { ...found, url: found.url + query[0] } : found
      }
    })
  }
  return import(`${pathToFileURL(file).href}?pinoctl=${++generation}`)
}

/** Read JSON as `require` does, without its look for packages and links: steps read their script anew each time. */
function readJson (file) {
  const text = fs.readFileSync(file, 'utf8')
  return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
}

function exported (file) {
  if (!file.endsWith('.json')) evict(file)
  try {
    return file.endsWith('.json') ? readJson(file) : require(file)
  } catch (error) {
    throw new LoadFailure(`${file} does not load: ${describe(error)}`, { cause: error })
  } finally {
    module.children.length = 0
  }
}

function describe (error) {
  try {
    if (!(error instanceof Error)) return String(error)
    const where = /^(\/[^\n]*:\d+)\n/.exec(error.stack || '')
    return `${error.name}: ${error.message}${where ? ` (${path.basename(where[1])})` : ''}`
  } catch { return 'an exception that cannot be shown' }
}

/** Return the file that a path stands for, or null where there is nothing to load. */
function locate (target) {
  let stats
  try { stats = fs.statSync(target) } catch { return null }
  if (!stats.isDirectory()) {
    if (!/\.js(on)?$/i.test(target)) return null
    if (!stats.isFile()) throw new LoadFailure(`${target} is no regular file`)
    if (stats.size > LARGEST) throw new LoadFailure(`${target} has ${Math.round(stats.size / 1e6)} MB, and no launcher's file has more than ${LARGEST / 1e6}`)
    return target
  }
  try { return require.resolve(target) } catch (error) { throw new LoadFailure(`${target} has no file to load`, { cause: error }) }
}

/** Load a file once: undefined means that there is nothing; throws LoadFailure. Does not see edits of ES modules. */
function loadSync (target) {
  const file = locate(target)
  if (file === null) return undefined
  const value = exported(file)
  return construct(unwrap(modules.get(file)?.space ?? value))
}

/** Load a file with every edit taken in; the value is not yet called. Returns undefined where there is nothing. */
async function load (target) {
  const file = locate(target)
  if (file === null) return undefined
  let value = exported(file)
  if (types.isModuleNamespaceObject(value)) {
    const now = stamp(file)
    const before = modules.get(file)
    let space = before ? before.space : value
    if (before && before.stamp !== now) {
      try { space = await reimport(file) } catch (error) { throw new LoadFailure(`${file} does not load: ${describe(error)}`, { cause: error }) }
    }
    modules.set(file, { stamp: now, space })
    value = space
  }
  return construct(unwrap(value))
}

/** Load a script and call what it exports with `kernel` (spec 2.1). */
async function resolve (target, kernel) {
  const value = await load(target)
  return typeof value === 'function' ? value(kernel) : value
}

/** Read a launcher's metadata (spec 1.2): `{meta, root, error}`, `root` being "" or "pinokio". */
async function metadata (app, kernel) {
  let error = null
  let found = null
  let root = ''
  for (const inner of ['', 'pinokio']) {
    const file = path.join(app, inner, 'pinokio.js')
    try {
      const value = await resolve(file, kernel)
      if (value && typeof value === 'object') { found = value; root = inner; error = null; break }
      if (value !== undefined) error = error || `${file} exports ${value === null ? 'null' : typeof value}, not an object`
    } catch (problem) { error = error || (problem instanceof LoadFailure ? problem.message : `${file}: ${describe(problem)}`) }
  }
  if (!found && !fs.existsSync(path.join(app, 'pinokio.json')) && fs.existsSync(path.join(app, 'pinokio', 'pinokio.json'))) root = 'pinokio'
  const meta = Object.assign({}, found)
  if ('menu' in meta && !Array.isArray(meta.menu) && typeof meta.menu !== 'function') delete meta.menu
  for (const name of ['pinokio_meta.json', 'pinokio.json']) {
    try {
      const more = await load(path.join(app, root, name))
      if (more && typeof more === 'object') Object.assign(meta, more)
    } catch (problem) { error = error || problem.message }
  }
  return { meta, root, error, found: Boolean(found), script: found }
}

module.exports = { load, loadSync, resolve, metadata, describe, LoadFailure }

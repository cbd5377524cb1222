// `info` of menus and action functions (spec 2.5): its paths start from the folder of the file that holds the call.
'use strict'
const fs = require('fs')
const path = require('path')
const { fileURLToPath } = require('url')
const { scriptPath, appOf } = require('./paths')

const OWN = __dirname + path.sep

/** Return the first file on the stack that is a launcher's, or null. */
function callerFile () {
  const { prepareStackTrace, stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = 60
    Error.prepareStackTrace = (_, sites) => sites
    const holder = {}
    Error.captureStackTrace(holder, callerFile)
    const sites = holder.stack
    if (!Array.isArray(sites)) return null
    for (const site of sites) {
      let file = site.getFileName()
      if (!file || file.startsWith('node:')) continue
      if (file.startsWith('file:')) file = fileURLToPath(file.replace(/\?pinoctl=\d+$/, ''))
      if (path.isAbsolute(file) && !file.startsWith(OWN)) return file
    }
    return null
  } finally {
    Error.prepareStackTrace = prepareStackTrace
    Error.stackTraceLimit = stackTraceLimit
  }
}

class Info {
  #state; #home; #file

  /** `file` answers for calls whose own file cannot be seen. */
  constructor (state, home, file) { this.#state = state; this.#home = home; this.#file = file }

  caller () { return callerFile() ?? this.#file }
  cwd () { return path.dirname(this.caller()) }
  path (...parts) { return path.resolve(this.cwd(), ...parts.map(String)) }
  exists (...parts) { return this.#state.exists ?? fs.existsSync(this.path(...parts)) }
  running (...parts) { return this.#state.isRunning(this.path(...parts)) }
  local (...parts) { return this.#state.local(this.path(...parts)) }
  global (...parts) { return this.#state.global(this.path(...parts)) }

  ready (...parts) {
    if (this.#state.isReady(this.path(...parts))) return true
    try { return this.#state.isReady(scriptPath(this.#home, ...parts)) } catch { return false }
  }

  async venv (folder) {
    const root = folder === undefined ? this.cwd() : this.path(folder)
    const found = new Set()
    const walk = (at, depth) => {
      let entries = []
      try { entries = fs.readdirSync(at, { withFileTypes: true }) } catch { return }
      if (entries.some(entry => entry.name === 'python' && !entry.isDirectory())) found.add(path.resolve(at, '..'))
      for (const entry of entries) if (entry.isDirectory() && depth < 8 && entry.name !== 'node_modules') walk(path.join(at, entry.name), depth + 1)
    }
    walk(root, 0)
    return [...found]
  }

  scriptsByApi () {
    const found = {}
    for (const key of Object.keys(this.#state.memory.local)) {
      const app = appOf(key, this.#home)
      if (app) (found[path.basename(app)] ??= []).push({ id: key, uri: key, name: path.relative(app, key), local: this.#state.memory.local[key] })
    }
    return found
  }
}

module.exports = { Info, callerFile }

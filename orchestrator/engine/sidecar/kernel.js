// The `kernel` object that launchers see (spec 2.6).
'use strict'
const fs = require('fs')
const os = require('os')
const path = require('path')
const loader = require('./loader')
const paths = require('./paths')
const { statSync, accessSync } = fs // the real ones, also where launchers are confined
const { systemFacts, systemModule } = require('./machine')

/** Return where a command is on PATH, or null; `table` (a dry run's) answers instead of the disk when given. */
function which (command, searchPath, table) {
  if (typeof command !== 'string' || !command) return null
  if (table) return Object.hasOwn(table, command) ? table[command] : null
  const places = command.includes('/') ? (fs.existsSync(command) ? [path.resolve(command)] : []) : (searchPath || '').split(':').filter(Boolean).map(folder => path.join(folder, command))
  for (const place of places) {
    try {
      if (!statSync(place).isFile()) continue
      accessSync(place, fs.constants.X_OK)
      return place
    } catch {}
  }
  return null
}

/** The kernel of one script or menu. `context`: {state, home, profile, env(), which, ask(op, payload)}. */
class Kernel {
  #context
  #sysinfo

  constructor (context) {
    this.#context = context
    const { state, home, profile } = context
    const facts = ['platform', 'arch', 'gpu', 'gpus', 'gpu_model', 'gpu_driver', 'gpu_target', 'vram', 'ram']
    for (const name of facts) this[name] = profile[name]
    this.homedir = home
    this.memory = state.memory
    this.version = { pinokio: '8.0.40', pinokiod: '8.0.40', script: '8.0.40' }
    this.os = os
    this.bin = { path: (...parts) => path.resolve(home, 'bin', ...parts) }
    this.store = { get: () => undefined, set: () => undefined }
    this.loader = { load: target => this.#load(target) }
    this.api = {
      running: state.running,
      resolvePath: (base, target) => paths.filePath(String(target), base, home),
      filePath: (target, base) => paths.filePath(String(target), base, home)
    }
    this.script = {
      resolve: (base, ...parts) => paths.scriptPath(home, base, ...parts),
      running: (base, ...parts) => state.isRunning(paths.scriptPath(home, base, ...parts)),
      local: (base, ...parts) => state.local(paths.scriptPath(home, base, ...parts)),
      global: (base, ...parts) => state.global(paths.scriptPath(home, base, ...parts)),
      exists: (base, ...parts) => this.#exists(paths.scriptPath(home, base, ...parts)),
      ready: (base, ...parts) => { try { return state.isReady(paths.scriptPath(home, base, ...parts)) } catch { return false } },
      start: params => context.ask('script.start', { params }),
      run: params => context.ask('script.start', { params }),
      stop: params => this.#stop(params)
    }
    this.shell = new Proxy({}, {
      get: (_, name) => typeof name === 'string' && name !== 'then' ? (params, options, ondata) => this.#shell('shell.' + name, params, options, ondata) : undefined
    })
    this.template = { render: (value, memory) => context.render(value, memory ?? {}) }
  }

  get envs () { return this.#context.env() }
  get system () { return systemModule(this.#context.profile) }
  get sysinfo () { return (this.#sysinfo ??= systemFacts(this.#context.profile)) }
  get fetch () { return globalThis.fetch }

  env () { return Promise.resolve(this.#context.env()) }
  path (...parts) { return path.resolve(this.#context.home, ...parts.map(String)) }
  exists (...parts) { return Promise.resolve(this.#exists(this.path(...parts))) }
  running (...parts) { return this.#context.state.isRunning(path.resolve(...parts.map(String))) }
  local (...parts) { return this.#context.state.local(path.resolve(...parts.map(String))) }
  global (...parts) { return this.#context.state.global(path.resolve(...parts.map(String))) }

  status (uri, cwd) {
    const target = paths.filePath(String(uri), cwd, this.#context.home)
    return target === undefined ? false : this.#context.state.isRunning(target)
  }

  which (command) {
    const env = this.#context.env()
    return which(command, env.PATH ?? this.#context.path, this.#context.which)
  }

  port (wanted) { return this.#context.ask('port', wanted === undefined ? {} : { port: wanted }) }
  ports (count) { return this.#context.ask('ports', { count }) }
  async require (...parts) { return this.#read(this.path(...parts)) }
  async load (...parts) { return this.#read(this.path(...parts)) }
  exec (params, ondata) { return this.#shell('exec', params, undefined, ondata) }
  download (params, ondata) { return this.#shell('download', params, undefined, ondata) }
  import (kind, uri) { return this.#context.ask('import', { kind, uri }) }

  async #stop (params) {
    const asked = params && typeof params === 'object' ? params.params?.uri ?? params.uri : params
    for (const uri of [].concat(asked)) {
      const target = paths.filePath(String(uri), undefined, this.#context.home)
      if (target !== undefined) await this.#context.ask('stop', { path: target })
    }
  }

  #exists (target) { return target === false ? false : this.#context.state.exists ?? fs.existsSync(target) }

  async #read (target) {
    try { return (await loader.load(target)) ?? null } catch { return null }
  }

  /** The desktop's answer is `{resolved}`; some launchers await it, some do not. */
  #load (target) {
    const file = path.resolve(this.#context.home, String(target))
    let now
    try { now = loader.loadSync(file) } catch {}
    const answer = this.#read(file).then(async value => ({ resolved: typeof value === 'function' ? await value(this) : value, dirname: path.dirname(file) }))
    return Object.assign(answer, { resolved: now ?? null, dirname: path.dirname(file) })
  }

  async #shell (op, params, options, ondata) {
    const answer = await this.#context.ask(op, { params, ...(options && typeof options === 'object' ? { options } : {}) })
    const listener = typeof options === 'function' ? options : ondata
    const text = answer && (answer.stdout ?? answer.response)
    if (typeof listener === 'function' && typeof text === 'string' && text) listener({ raw: text })
    return answer
  }
}

module.exports = { Kernel, which }

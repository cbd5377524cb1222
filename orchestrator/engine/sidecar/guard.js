// Confined mode: what a launcher's code may do while pinoctl plans or evaluates menus. `require` works, calls that would
// leave the sandbox fail with an error that says so. The kernel's layers (confinement.py) stand behind this one.
'use strict'
const fs = require('fs')
const path = require('path')
const { fileURLToPath } = require('url')
const { syncBuiltinESMExports } = require('module')

const { realpathSync } = fs
const nativeRealpath = realpathSync.native
const dirname = path.dirname
const resolvePath = path.resolve

const READS = ['access', 'exists', 'readFile', 'readdir', 'stat', 'lstat', 'realpath', 'readlink', 'open', 'opendir', 'statfs', 'createReadStream', 'openAsBlob']
const WRITES = [
  'writeFile', 'appendFile', 'mkdir', 'mkdtemp', 'mkdtempDisposable', 'rm', 'rmdir', 'unlink', 'rename', 'copyFile', 'cp', 'symlink', 'link', 'chmod', 'chown', 'lchmod',
  'lchown', 'utimes', 'lutimes', 'truncate', 'createWriteStream', 'watch', 'watchFile', 'unwatchFile', 'glob'
]
const DESCRIPTORS = [
  'read', 'readv', 'write', 'writev', 'close', 'fstat', 'ftruncate', 'fsync', 'fdatasync', 'fchmod', 'fchown', 'futimes'
]
const REFUSED = {
  child_process: ['exec', 'execFile', 'execFileSync', 'execSync', 'fork', 'spawn', 'spawnSync', '_forkChild'],
  http: ['request', 'get', 'createServer'],
  https: ['request', 'get', 'createServer'],
  http2: ['connect', 'createServer', 'createSecureServer'],
  net: ['connect', 'createConnection', 'createServer'],
  tls: ['connect', 'createServer'],
  dgram: ['createSocket'],
  worker_threads: ['Worker'],
  inspector: ['open', 'url', 'waitForDebugger', 'Session'],
  cluster: ['fork', 'setupPrimary', 'setupMaster'],
  repl: ['start'],
  v8: ['setFlagsFromString', 'getHeapSnapshot', 'writeHeapSnapshot', 'queryObjects', 'takeCoverage', 'setHeapSnapshotNearHeapLimit'],
  async_hooks: ['createHook', 'executionAsyncResource'],
  trace_events: ['createTracing']
}
const REFUSED_IN_PROCESS = [
  'binding', '_linkedBinding', 'dlopen', 'kill', '_kill', '_debugProcess', '_debugEnd', '_getActiveHandles', '_getActiveRequests', 'chdir', 'setuid', 'setgid',
  'seteuid', 'setegid', 'setgroups', 'initgroups', 'execve', 'loadEnvFile', 'umask', 'openStdin', '_rawDebug', '_startProfilerIdleNotifier'
]

class Refused extends Error {
  constructor (what, code = 'EACCES') {
    super(`${what}: launchers may not do this while pinoctl plans or evaluates menus`)
    this.name = 'Refused'
    this.code = code
  }
}

/** Follow links as far as the path exists. */
function real (target) {
  for (let at = target, rest = ''; ;) {
    try { return rest ? resolvePath(nativeRealpath(at), rest) : nativeRealpath(at) } catch (error) {
      const up = dirname(at)
      if (up === at) return target
      if (error.code === 'ERR_ACCESS_DENIED') return at + '\0'
      rest = rest ? path.basename(at) + '/' + rest : path.basename(at)
      at = up
    }
  }
}

function install ({ roots }) {
  const allowed = roots.map(root => root.endsWith('/') ? root : root + '/')
  const opened = new Set()
  const inside = file => allowed.some(root => file + '/' === root || file.startsWith(root))

  const absolute = given => {
    if (typeof given === 'string') return resolvePath(given)
    if (given instanceof URL) return fileURLToPath(given)
    return Buffer.isBuffer(given) ? resolvePath(given.toString()) : null
  }
  const may = (given, follow = true) => {
    const file = absolute(given)
    if (file === null || file.includes('\0')) return true // not a path: Node says so itself
    return inside(follow ? real(file) : resolvePath(real(dirname(file)), path.basename(file)))
  }
  const writes = flags => typeof flags === 'number' ? (flags & 3) !== 0 || (flags & 0o1100) !== 0 : typeof flags === 'string' && /[wa+]/.test(flags)

  const callbackOf = given => typeof given[given.length - 1] === 'function' ? given[given.length - 1] : null
  function denied (name, problem, given) {
    const callback = !name.endsWith('Sync') && !name.startsWith('create') && callbackOf(given)
    if (!callback) throw problem
    process.nextTick(callback, problem)
  }

  const guarded = (module, name, check, async) => {
    const original = module[name]
    if (typeof original !== 'function') return
    const replacement = function (...given) {
      const problem = check(given)
      if (!problem) return Reflect.apply(original, module, given)
      if (async) return Promise.reject(problem)
      return denied(name, problem, given)
    }
    Object.defineProperty(replacement, 'name', { value: name })
    if (original.native) replacement.native = replacement
    module[name] = replacement
  }

  const canRead = name => given => {
    if (/^(readFile|createReadStream)/.test(name) && typeof given[0] === 'number') return opened.has(given[0]) ? null : new Refused(`fs.${name} of file descriptor ${given[0]}`, 'EBADF')
    if (name === 'createReadStream' && given[1] && typeof given[1] === 'object' && given[1].fd !== undefined && given[1].fd !== null) return new Refused('fs.createReadStream of a file descriptor', 'EBADF')
    if (name.startsWith('open') && !name.startsWith('opendir') && name !== 'openAsBlob' && writes(typeof given[1] === 'function' ? 'r' : given[1] ?? 'r')) return new Refused(`fs.${name} of ${String(given[0])} for writing`)
    return may(given[0], !/^(lstat|readlink)/.test(name)) ? null : new Refused(`fs.${name} of ${String(given[0])}`)
  }
  const { existsSync, statSync, lstatSync, openSync, open } = fs
  for (const name of READS) {
    for (const variant of [name, name + 'Sync']) if (!/^exists|^(l?stat|open)Sync$|^open$/.test(variant)) guarded(fs, variant, canRead(variant), name === 'openAsBlob')
    guarded(fs.promises, name, canRead(name), true)
  }
  fs.existsSync = given => may(given) && existsSync(given)
  fs.exists = (given, callback) => process.nextTick(callback, fs.existsSync(given))
  for (const [name, original] of [['statSync', statSync], ['lstatSync', lstatSync]]) {
    fs[name] = (given, options) => {
      const problem = canRead(name)([given])
      if (!problem) return original(given, options)
      if (options && options.throwIfNoEntry === false) return undefined
      throw problem
    }
  }
  fs.openSync = (...given) => {
    const problem = canRead('openSync')(given)
    if (problem) throw problem
    const descriptor = openSync(...given)
    opened.add(descriptor)
    return descriptor
  }
  fs.open = (...given) => {
    const problem = canRead('open')(given)
    const callback = callbackOf(given)
    if (problem) return denied('open', problem, given)
    return open(...given.slice(0, -1), (error, descriptor) => {
      if (!error) opened.add(descriptor)
      callback(error, descriptor)
    })
  }
  for (const name of WRITES) {
    for (const variant of [name, name + 'Sync']) guarded(fs, variant, given => new Refused(`fs.${variant} of ${String(given[0])}`))
    guarded(fs.promises, name, given => new Refused(`fs.promises.${name} of ${String(given[0])}`), true)
  }
  for (const name of DESCRIPTORS) {
    for (const variant of [name, name + 'Sync']) {
      guarded(fs, variant, given => {
        if (!opened.has(given[0])) return new Refused(`fs.${variant} of file descriptor ${String(given[0])}`, 'EBADF')
        if (name === 'close') opened.delete(given[0])
        return null
      })
    }
  }

  const refuse = what => function () { throw new Refused(what, 'EPERM') }
  for (const [module, names] of Object.entries(REFUSED)) {
    let loaded
    try { loaded = require(module) } catch { continue }
    for (const name of names) if (loaded[name] !== undefined) try { loaded[name] = refuse(`${module}.${name}`) } catch {}
  }
  for (const [module, owner, names] of [['net', 'Socket', ['connect']], ['net', 'Server', ['listen']], ['dgram', 'Socket', ['bind', 'send', 'connect']]]) {
    for (const name of names) require(module)[owner].prototype[name] = refuse(`${module}.${owner}.${name}`)
  }
  const dns = require('dns')
  for (const [where, owner] of [['dns', dns], ['dns.promises', dns.promises], ['dns.Resolver', dns.Resolver.prototype], ['dns.promises.Resolver', dns.promises.Resolver.prototype]]) {
    for (const name of Object.getOwnPropertyNames(owner)) if (/^(lookup|resolve|reverse|setServers)/.test(name)) owner[name] = refuse(`${where}.${name}`)
  }
  for (const name of ['fetch', 'WebSocket', 'EventSource', 'Worker']) {
    if (name in globalThis) Object.defineProperty(globalThis, name, { configurable: true, writable: true, value: name === 'fetch' ? async () => refuse('fetch')() : refuse(name) })
  }
  for (const name of REFUSED_IN_PROCESS) if (process[name] !== undefined) try { Object.defineProperty(process, name, { configurable: true, writable: true, value: refuse(`process.${name}`) }) } catch {}
  require('os').userInfo = () => ({ uid: -1, gid: -1, username: 'user', homedir: process.env.HOME ?? '/', shell: '/bin/bash' }) // it would read /etc/passwd
  if (process.report) for (const name of ['getReport', 'writeReport']) process.report[name] = refuse(`process.report.${name}`)
  syncBuiltinESMExports()
  hide()
}

/** Take the sidecar's own modules out of reach of `require.cache`, `require.main` and `module.children`. */
function hide () {
  const own = __dirname + path.sep
  for (const [file, entry] of Object.entries(require.cache)) {
    if (!file.startsWith(own)) continue
    entry.children = []
    entry.exports = {}
    delete require.cache[file]
  }
  process.argv.length = 1
  process.execArgv.length = 0
}

const INTRINSICS = [
  Object, Function, Array, String, Number, Boolean, Symbol, Promise, Map, Set, WeakMap, RegExp, Date, JSON, Math, Reflect, Error, Proxy, URLSearchParams, Buffer, path, process
]

// modules that are loaded already, or that a launcher's change to would reach every other launcher
const SHARED = [...Object.keys(REFUSED), 'assert', 'buffer', 'crypto', 'events', 'fs/promises', 'module', 'os', 'stream', 'string_decoder', 'timers', 'url', 'util', 'zlib']
const IDLE = { __proto__: null, FSReqCallback: 1, PipeWrap: 2 } // what the sidecar itself has open: its pipes

/** Take a picture of what launchers share, to see later whether one of them changed it for the others, or still works. */
function picture ({ pending }) {
  const { ownKeys, getOwnPropertyDescriptor } = Reflect
  const objects = []
  for (const entry of INTRINSICS) { objects.push(entry); if (entry.prototype) objects.push(entry.prototype) }
  objects.push(require('events').prototype, fs, globalThis, process.env, require('./template').getLodash())
  for (const name of SHARED) objects.push(require(name))
  objects.push(require('module').prototype, require('module')._extensions)
  const shot = () => objects.map(object => ownKeys(object).map(key => {
    const descriptor = getOwnPropertyDescriptor(object, key)
    return [key, descriptor.get ?? descriptor.value, descriptor.set]
  }))
  const before = shot()
  const is = Object.is
  const { getActiveResourcesInfo } = process
  const { cache } = require
  return function changed () {
    for (const file of ownKeys(cache)) delete cache[file] // so that no launcher can put a module in another one's way
    if (pending() > 0) return true
    const active = getActiveResourcesInfo()
    const seen = { __proto__: null }
    for (let i = 0; i < active.length; i++) {
      seen[active[i]] = (seen[active[i]] ?? 0) + 1
      if (seen[active[i]] > (IDLE[active[i]] ?? 0)) return true
    }
    for (let i = 0; i < objects.length; i++) {
      const keys = ownKeys(objects[i])
      if (keys.length !== before[i].length) return true
      for (let k = 0; k < keys.length; k++) {
        const descriptor = getOwnPropertyDescriptor(objects[i], keys[k])
        const known = before[i][k]
        if (keys[k] !== known[0] || !is(descriptor.get ?? descriptor.value, known[1]) || !is(descriptor.set, known[2])) return true
      }
    }
    return false
  }
}

module.exports = { install, picture }

// The JavaScript sidecar: one process that holds all that is JavaScript in Pinokio scripts, driven by JSON lines.
// usage: node main.js <fd to read> <fd to write> <open|confined>
'use strict'
const { read } = require('fs')
const { AsyncLocalStorage } = require('async_hooks')
const protocol = require('./protocol')
const codec = require('./codec')
const dotpath = require('./dotpath')
const loader = require('./loader')
const paths = require('./paths')
const { State } = require('./state')
const { Kernel } = require('./kernel')
const { Runs, ScriptProblem } = require('./runs')
const { Matchers } = require('./match')
const { evaluate } = require('./menu')
const template = require('./template')
const machine = require('./machine')
const documents = require('./documents')

const [input, output, mode] = process.argv.splice(2)
const current = new AsyncLocalStorage()
const here = () => current.getStore() ?? ''

let config = null
let facts = null
let changed = () => false // whether a launcher altered what others share
const live = new State()
const environments = {}
const matchers = new Matchers()
const tools = { handles: [] } // owner of handles that belong to no run

function envFor (app) {
  if (app && Object.hasOwn(environments, app)) return environments[app]
  return environments[''] ?? config.env
}

function context (state, app, run) {
  return {
    state, home: config.home, profile: config.profile, path: config.env.PATH, which: config.which ?? null,
    env: () => envFor(app),
    ask: (op, payload) => protocol.ask(op, run ?? here(), payload, runs.find(run)?.handles ?? tools.handles),
    render: renderFree
  }
}

const makeKernel = (app, run, state = live) => new Kernel(context(state, app, run))
const getFacts = () => (facts ??= machine.systemFacts(config.profile))

const host = {
  state: live,
  get home () { return config.home },
  get profile () { return config.profile },
  kernel: makeKernel,
  envFor,
  facts: getFacts,
  output: (run, raw) => protocol.say(run, raw)
}
const runs = new Runs(host)

/** Render outside a run, with the names of the machine only (3.2, 7.1). */
function freeScope (memory) {
  const facts = getFacts()
  const kernel = makeKernel(null)
  const env = envFor('')
  return new template.Scope({
    ...facts, kernel, env, envs: env, which: command => kernel.which(command), os: require('os'), path: require('path'), ...memory
  })
}

function renderFree (value, memory, mode = 'step') {
  const scope = freeScope(memory)
  if (mode === 'when') {
    const result = template.renderStep(value, scope)
    return { result, run: template.decideWhen(result, scope) }
  }
  return mode === 'once' ? template.renderOnce(value, scope) : template.renderStep(value, scope)
}

const keyOf = name => runs.find(name)?.key ?? name

const operations = {
  ping: () => 'pong',
  tainted: () => changed(),
  open: message => runs.open(message),
  step: message => runs.step(message),
  texts: message => runs.texts(message),
  call: message => runs.call(message),
  request: message => runs.request(message),
  close: message => runs.close(message),
  memory: ({ run, do: op, store, params }) => {
    const all = live.memory[store]
    const key = keyOf(run)
    if (op === 'get') return params === undefined || params === null ? all[key] ?? {} : Object.fromEntries([].concat(params).map(name => [name, dotpath.getPath(all[key] ?? {}, name)]))
    all[key] = dotpath.edit(all[key] ?? {}, op, params)
    return { key, store: all[key] } // Python keeps a copy for the case that this process dies
  },
  snapshot: ({ path }) => live.local(keyOf(path)),
  env: ({ app, env }) => { environments[app] = env },
  state: ({ path, running, ready }) => {
    if (running) live.running[path] = running
    else delete live.running[path]
    if (ready) live.ready.add(path)
    else live.ready.delete(path)
  },
  restore: ({ local, global }) => { Object.assign(live.memory.local, local); Object.assign(live.memory.global, global) },
  edit: ({ path, do: op, params }) => documents.edit(path, op, params),
  read: ({ path }) => documents.read(path),
  load: async ({ path }) => (await loader.load(path)) ?? null,
  resolve: async ({ path }) => loader.resolve(path, makeKernel(paths.appOf(path, config.home))),
  script_path: ({ base, parts }) => paths.scriptPath(config.home, base, ...parts),
  file_path: ({ uri, cwd, folders }) => paths.filePath(uri, cwd, config.home, folders),
  match_open: message => matchers.open(message),
  match_feed: message => matchers.feed(message),
  match_end: message => matchers.end(message),
  match_close: message => matchers.close(message),
  screen: message => matchers.screen(message, (value, memory) => renderFree(value, memory)),
  render: ({ template: value, memory, mode }) => ({ value: renderFree(value, memory, mode) }), // in an object: it may be a Promise
  menu: ({ app, state }) => {
    const view = state ? new State(state) : live
    return evaluate(app, { state: view, home: config.home, kernel: makeKernel(app, app, view), render: renderFree })
  }
}

function ownerOf (message) {
  return (message.run !== undefined && runs.find(message.run)?.handles) || tools.handles
}

function handle (message) {
  if (config === null) return begin(message)
  if (protocol.settle(message)) return undefined
  const { id, op } = message
  const label = message.run ?? message.app ?? ''
  return current.run(label, () => {
    try {
      const value = operations[op](message)
      if (value !== null && typeof value === 'object' && typeof value.then === 'function') value.then(result => finish(id, message, result), error => fail(id, error))
      else finish(id, message, value)
    } catch (error) { fail(id, error) }
  })
}

function finish (id, message, value) {
  if (id === undefined) return
  try { protocol.reply(id, value, ownerOf(message)) } catch (error) { fail(id, error) }
}

function fail (id, error) {
  if (id === undefined) return
  if (error instanceof loader.LoadFailure) protocol.fail(id, { name: 'LoadFailure', message: error.message, stack: error.cause?.stack, code: error.code })
  else if (error instanceof ScriptProblem) protocol.fail(id, { name: 'ScriptProblem', message: error.message })
  else protocol.fail(id, error)
}

function begin (message) {
  config = message.hello
  protocol.setUp(Number(output), config.secret)
  codec.setPrefix(config.handles)
  delete config.secret
  for (const gpu of config.profile.gpus) Object.freeze(gpu)
  const guard = config.confined && require('./guard')
  require('./manners').install({ say: raw => protocol.say(here(), raw) })
  if (guard) {
    guard.install(config.confined)
    changed = guard.picture({ pending: protocol.pending })
  }
  protocol.note({ ready: process.version })
}

const leave = process.reallyExit.bind(process)
const take = protocol.reader(handle)

if (mode === 'confined') { // a stream would be within reach of what launchers patch
  const chunk = Buffer.allocUnsafeSlow(65536)
  const subarray = Uint8Array.prototype.subarray
  const { apply } = Reflect
  const next = () => read(Number(input), chunk, 0, chunk.length, null, (error, size) => {
    if (error || size === 0) return leave(error ? 1 : 0)
    take(apply(subarray, chunk, [0, size]))
    return next()
  })
  next()
} else {
  const pipe = new (require('net').Socket)({ fd: Number(input), readable: true, writable: false })
  pipe.on('data', take)
  pipe.on('end', () => leave(0))
  pipe.on('error', () => leave(1))
}

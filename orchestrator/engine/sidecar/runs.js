// Runs of scripts: opening one, rendering its steps, calling its own functions (spec 2.4, 5.2, 5.8, 7.0).
'use strict'
const fs = require('fs')
const os = require('os')
const path = require('path')
const loader = require('./loader')
const template = require('./template')
const paths = require('./paths')
const { isPlain, release } = require('./codec')
const { Info } = require('./info')

const NO_STEPS = 'no-steps' // the file loads, but it is no script
const TORCH = 'pip3 install torch torchvision torchaudio'
const TORCH_INDEX = ' --index-url https://download.pytorch.org/whl/'

/** An error of the script itself, to be told without a stack. */
class ScriptProblem extends Error { constructor (message) { super(message); this.name = 'ScriptProblem' } }

class Runs {
  #host
  #open = new Map()
  #modules = new Map() // uri modules: file -> {mtime, instance, run}
  #keys = null

  /** `host`: {state, home, profile, kernel(app, run), envFor(app), output(run, raw), facts()}. */
  constructor (host) { this.#host = host }

  get (id) {
    const run = this.#open.get(id)
    if (!run) throw new ScriptProblem(`run \`${id}\` is not open in the JavaScript sidecar`)
    return run
  }

  find (id) { return this.#open.get(id) }

  async open ({ run: id, path: file, action = 'run', payload = {}, cwd, uri, name, key }) {
    const dirname = path.dirname(file)
    const run = { id, file, key: key ?? file, action, args: payload, cwd: cwd || dirname, dirname, uri: uri ?? file, handles: [], app: paths.appOf(file, this.#host.home) }
    run.name = name ?? path.relative(path.join(this.#host.home, 'api'), dirname)
    run.kernel = this.#host.kernel(run.app, id)
    const script = await loader.resolve(file, run.kernel)
    if (script === undefined) {
      if (!fs.existsSync(file)) throw new loader.LoadFailure(`${file} does not exist`)
      throw new loader.LoadFailure(`${file} is not a script: a script is a .js or .json file`)
    }
    if (script === null || typeof script !== 'object') throw new loader.LoadFailure(`${file} does not give an object, but ${script === null ? 'null' : typeof script}`, { code: NO_STEPS })
    run.script = run.self = script
    run.steps = await this.#steps(run, script, action)
    run.memory = { local: this.#host.state.memory.local, global: this.#host.state.memory.global }
    this.#open.set(id, run)
    return this.#opened(run)
  }

  async #steps (run, script, action) {
    const context = this.#names(run, { input: run.args, current: 0, next: null, port: undefined })
    context.info = new Info(this.#host.state, this.#host.home, run.file)
    context.kernel = run.kernel
    context.script = script
    context.action = action
    if (action === 'run' && script.install && typeof script.installed === 'function' && typeof script.install !== 'string') {
      if (await script.installed(run.kernel, context.info, context) === false) {
        return [{ method: 'notify', params: { html: 'not installed' } }]
      }
    }
    let steps = script[action]
    if (typeof steps === 'function') steps = await steps.call(script, run.kernel, context.info, context)
    if (!Array.isArray(steps) || steps.length === 0) throw new loader.LoadFailure(`${run.file}: missing or invalid attribute: ${action}`, { code: NO_STEPS })
    return steps
  }

  #opened (run) {
    const { script, steps } = run
    const objects = value => Array.isArray(value) ? value.filter(isPlain) : []
    return {
      steps: steps.length,
      ports: steps.map(mentionsPort),
      ids: steps.map(step => isPlain(step) && typeof step.id === 'string' ? step.id : null),
      daemon: Boolean(script.daemon),
      on_stop: (script.on && script.on.stop) || null,
      title: typeof script.title === 'string' ? script.title : '',
      description: typeof script.description === 'string' ? script.description : '',
      version: script.version ?? null,
      env: objects(script.env),
      pre: objects(script.pre),
      requires: script.requires,
      actions: Object.keys(script).filter(key => (Array.isArray(script[key]) && key !== 'env' && key !== 'pre') || typeof script[key] === 'function')
    }
  }

  /** The names that a step's templates see, those of the machine last because they win (5.8). */
  #names (run, { input, current, next, port }) {
    const { state, profile } = this.#host
    const at = parts => path.resolve(run.cwd, ...parts.map(String))
    const facts = this.#host.facts()
    const env = this.#host.envFor(run.app)
    const torch = TORCH + TORCH_INDEX + (profile.gpus.some(gpu => gpu.name === 'nvidia') ? 'cu118' : 'cpu') // as the desktop engine: Linux vendors have longer names
    return {
      script: run.kernel.script,
      input,
      args: run.args,
      global: state.memory.global[run.key] ?? {},
      local: state.memory.local[run.key] ?? {},
      key: host => this.#key(host),
      current,
      next,
      uri: run.uri,
      cwd: run.cwd,
      dirname: run.dirname,
      exists: (...parts) => state.exists ?? fs.existsSync(at(parts)),
      running: (...parts) => state.isRunning(at(parts)) || undefined, // so that the template stays literal
      ready: (...parts) => state.isReady(at(parts)),
      name: run.name,
      self: run.self,
      port,
      pip: { install: { torch } },
      kernel: run.kernel,
      platform: profile.platform,
      arch: profile.arch,
      gpu: profile.gpu,
      gpus: profile.gpus,
      gpu_model: profile.gpu_model,
      gpu_driver: profile.gpu_driver,
      gpu_target: profile.gpu_target,
      vram: profile.vram,
      ram: profile.ram,
      proxy: wanted => state.memory.local[run.key]?.$share?.local?.[wanted],
      env,
      envs: env,
      which: command => run.kernel.which(command),
      graphics: facts.graphics,
      cpu: facts.cpu,
      mem: facts.mem,
      osInfo: facts.osInfo,
      shell: facts.shell,
      audio: facts.audio,
      system: facts.system,
      os,
      path
    }
  }

  #key (host) {
    try { this.#keys = JSON.parse(fs.readFileSync(path.join(this.#host.home, 'key.json'), 'utf8')) } catch { this.#keys = {} }
    return this.#keys[host]
  }

  scope (run, values) { return new template.Scope(this.#names(run, values)) }

  async step ({ run: id, index, input, port }) {
    const run = this.get(id)
    const warnings = []
    try {
      const fresh = await loader.resolve(run.file, run.kernel)
      if (fresh !== undefined) run.self = fresh
    } catch (error) { warnings.push(`\`self\` is that of the last step: ${error instanceof loader.LoadFailure ? error.message : loader.describe(error)}`) }
    const raw = run.steps[index]
    if (!Number.isInteger(index) || index < 0 || index >= run.steps.length) throw new ScriptProblem(`there is no step with index ${index}: ${path.basename(run.file)} has ${run.steps.length}`)
    if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) {
      throw new ScriptProblem(typeof raw === 'string' ? `step ${index + 1} of ${path.basename(run.file)}: missing RPC attribute: method` : `step ${index + 1} of ${path.basename(run.file)} is ${raw === null ? 'null' : Array.isArray(raw) ? 'an array' : typeof raw}, not an object`)
    }
    let next = index + 1 < run.steps.length ? index + 1 : null
    const scope = this.scope(run, { input, current: index, next, port })
    const step = template.renderStep(raw, scope)
    template.trapWarnings(raw, scope, warnings)
    const own = Object.hasOwn(step, 'next')
    if (own) next = this.#target(run, step.next)
    let go = true
    if ('when' in step) {
      try { go = template.decideWhen(step.when, scope) } catch (error) {
        if (error instanceof template.TemplateSyntaxError) throw new ScriptProblem(`\`when\` of step ${index + 1} of ${path.basename(run.file)}: ${error.message}`)
        throw error
      }
    }
    if (scope.portMissed) return { need: 'port' }
    run.last = { index, step, input, next }
    return { step, own, next, go, warnings, ...(typeof raw.when === 'string' && { condition: raw.when }) }
  }

  #target (run, next) {
    if (typeof next !== 'string') return next
    const found = run.steps.findIndex(step => isPlain(step) && step.id === next)
    return found < 0 ? next : found
  }

  async call ({ run: id, index, cwd, input }) {
    const run = this.get(id)
    if (!run.last || run.last.index !== index) throw new ScriptProblem(`step ${index} of run \`${id}\` is not the one rendered last`)
    return this.#invoke(run, run.last, cwd, input)
  }

  /** Call what a request that is no step names, such as that of `on.stop`. */
  request ({ run: id, request, cwd }) {
    return this.#invoke(this.get(id), { index: null, step: request, input: undefined, next: null }, cwd)
  }

  async #invoke (run, at, cwd, input) {
    const { step } = at
    const folder = cwd || run.cwd
    const req = {
      ...step,
      parent: {
        id: run.key, uri: run.uri, path: run.file, git: run.app, cwd: run.cwd, origin: run.uri, caller: run.caller,
        action: run.action, args: run.args, client: undefined, body: run.script
      },
      cwd: folder,
      dirname: run.dirname,
      root: run.app ?? run.dirname,
      current: at.index,
      total: run.steps.length,
      input: input === undefined ? at.input : input,
      args: run.args,
      next: at.next
    }
    const ondata = packet => {
      const raw = packet && (packet.raw ?? packet.html ?? packet.text)
      if (raw !== undefined && raw !== null) this.#host.output(run.id, String(raw))
    }
    const [method, owner] = await this.#method(run, step, folder)
    const value = await method.call(owner, req, ondata, run.kernel)
    const redirected = req.next !== at.next
    return { value, next: redirected ? this.#target(run, req.next) : undefined, redirected }
  }

  async #method (run, step, folder) {
    if (typeof step.method === 'function') return [step.method, undefined]
    if (step.uri !== undefined && step.uri !== null) {
      const instance = await this.#module(run, step.uri, folder)
      if (instance === undefined || instance === null) throw new ScriptProblem(`\`${step.uri}\` is not a module that can be loaded`)
      if (typeof instance[step.method] !== 'function') throw new ScriptProblem(`\`${step.uri}\` has no method \`${step.method}\``)
      return [instance[step.method], instance]
    }
    const names = typeof step.method === 'string' ? step.method.split('.') : []
    if (names[0] === 'kernel' && names.length > 1) {
      let owner
      let value = run.kernel
      for (const name of names.slice(1)) { owner = value; value = value === undefined || value === null ? undefined : value[name] }
      if (typeof value === 'function') return [value, owner]
    }
    throw new ScriptProblem(`there is no method \`${String(step.method)}\``)
  }

  /** Keep one instance of a `uri` module per file until the file changes or the run that loaded it closes (7.0). */
  async #module (run, uri, folder) {
    const file = paths.filePath(String(uri), folder, this.#host.home)
    if (file === undefined) throw new ScriptProblem(`\`${uri}\` is not installed`)
    let mtime
    try { mtime = fs.statSync(file).mtimeMs } catch { throw new ScriptProblem(`\`${uri}\` does not exist (looked for ${file})`) }
    const known = this.#modules.get(file)
    if (known && known.mtime === mtime) return known.instance
    const entry = { mtime, instance: loader.load(file), run: run.id } // a promise: who asks while it loads gets the same one
    this.#modules.set(file, entry)
    try { return await entry.instance } catch (error) {
      if (this.#modules.get(file) === entry) this.#modules.delete(file)
      throw error
    }
  }

  /** The texts of a script's steps and of what else decides what they do, functions as their source: what they are compared by. */
  async texts ({ path: file, payload = {} }) {
    const id = `texts ${file}`
    await this.open({ run: id, path: file, payload })
    const run = this.get(id)
    try {
      const text = value => JSON.stringify(value, (key, item) => typeof item === 'function' ? `function ${item}` : typeof item === 'bigint' ? `${item}n` : item) ?? 'undefined'
      const { env, pre, requires } = run.script
      return [text({ env, pre, requires }), ...run.steps.map(text)]
    } finally {
      this.close({ run: id, forget_local: false })
    }
  }

  close ({ run: id, forget_local: forget }) {
    const run = this.#open.get(id)
    if (!run) return
    this.#open.delete(id)
    for (const [file, entry] of this.#modules) if (entry.run === id) this.#modules.delete(file)
    if (forget) delete this.#host.state.memory.local[run.key]
    release(run.handles)
  }
}

/** Tell whether a step may ask for `port`, which costs a look at the machine: where templates come from elsewhere, `need` tells. */
function mentionsPort (step) {
  try { return JSON.stringify(step).includes('port') } catch { return true }
}

module.exports = { Runs, ScriptProblem }

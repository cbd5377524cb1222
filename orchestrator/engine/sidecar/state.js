// What the engine remembers of scripts: running, ready, `local`, `global` (spec 11.2, 11.4, 11.5).
'use strict'

/** Hold the state that kernel, info and templates read; keys are absolute script paths or session ids. */
class State {
  constructor ({ running = {}, ready = [], local = {}, global = {}, exists = null } = {}) {
    this.running = { ...running }
    this.ready = new Set(ready)
    this.memory = { local: { ...local }, global: { ...global }, args: {}, input: {}, key: {} }
    this.exists = exists // an answer to every question whether a file is there, or null to look
  }

  /** Find an entry by path, or under a session id of the same path. */
  static find (store, path) {
    if (Object.hasOwn(store, path)) return store[path]
    const session = Object.keys(store).find(key => key.startsWith(path + '?'))
    return session === undefined ? undefined : store[session]
  }

  isRunning (path) { return State.find(this.running, path) || false }
  isReady (path) { return this.ready.has(path) || [...this.ready].some(key => key.startsWith(path + '?')) }
  local (path) { return State.find(this.memory.local, path) ?? {} }
  global (path) { return State.find(this.memory.global, path) ?? {} }
}

module.exports = { State }

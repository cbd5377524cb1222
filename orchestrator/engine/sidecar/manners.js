// Keep the sidecar alive and its output apart: console text goes to the script's terminal, `process.exit` ends only the
// code that called it, and a stray exception is told instead of ending the process.
'use strict'
const crlf = text => text.replace(/\r?\n/g, '\r\n')

class ExitError extends Error {
  constructor (what) { super(`the launcher called \`${what}\`, which ends the engine on the desktop and is refused here`); this.name = 'ExitError' }
}

function install ({ say }) {
  for (const name of ['stdout', 'stderr']) {
    const original = Object.getOwnPropertyDescriptor(process, name)
    let stream
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get () {
        if (stream) return stream
        stream = original.get.call(process)
        stream.write = function (chunk, encoding, done) {
          say(crlf(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8')))
          const callback = typeof encoding === 'function' ? encoding : done
          if (typeof callback === 'function') process.nextTick(callback)
          return true
        }
        return stream
      }
    })
  }
  const refuse = name => (...given) => { throw new ExitError(`process.${name}(${given.length ? given[0] : ''})`) }
  process.exit = refuse('exit')
  process.reallyExit = refuse('reallyExit')
  process.abort = refuse('abort')
  const kill = process.kill
  process.kill = (pid, signal) => {
    if (pid === process.pid || pid === 0 || pid === -1) throw new ExitError(`process.kill(${pid})`)
    return kill(pid, signal)
  }
  const tell = kind => error => say(crlf(`${kind}: ${error && error.stack ? error.stack : error}\n`))
  process.on('uncaughtException', tell('uncaught exception'))
  process.on('unhandledRejection', tell('unhandled rejection'))
}

module.exports = { install }

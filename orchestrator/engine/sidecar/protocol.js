// JSON lines between Python and the sidecar, on pipes of their own. Every line out carries a secret that launchers
// cannot reach, and is written by functions captured before any launcher ran.
'use strict'
const { writeSync } = require('fs')
const { encode, decode } = require('./codec')
const { stringify } = JSON
const { apply, ownKeys } = Reflect
const indexOf = String.prototype.indexOf
const slice = String.prototype.slice
const byteLength = Buffer.byteLength
const allocate = Buffer.allocUnsafeSlow
const utf8Write = Buffer.prototype.utf8Write
const { StringDecoder } = require('string_decoder')
const decoderWrite = StringDecoder.prototype.write

const LARGEST = 256 * 1024 * 1024
let secret = ''
let output = -1
let waiting = 0
const answers = { __proto__: null }

function setUp (fd, token) { output = fd; secret = token }

function write (line) {
  if (line.length > LARGEST) throw new Error('the answer is larger than 256 MiB')
  // a string goes to the kernel directly; Buffer.from would leave the secret in a pool that launchers can look into
  const text = secret + line + '\n'
  const size = byteLength(text)
  let sent = attempt(text)
  if (sent >= size) return
  const bytes = allocate(size)
  apply(utf8Write, bytes, [text])
  while (sent < size) sent += attempt(bytes, sent, size - sent)
}

function attempt (...what) {
  for (;;) {
    try { return writeSync(output, ...what) } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}

function fault (error) {
  let out = '{'
  const add = (key, read) => {
    try {
      const value = read()
      if (value !== undefined && value !== null) out += (out === '{' ? '' : ',') + stringify(key) + ':' + stringify('' + value)
    } catch {}
  }
  const isError = typeof error === 'object' && error !== null
  add('message', () => isError ? error.message ?? '[object]' : error)
  add('name', () => isError ? error.name : 'Error')
  add('stack', () => isError ? error.stack : '')
  add('code', () => isError ? error.code : undefined)
  return out + '}'
}

function reply (id, value, owner) { write('{"id":' + id + ',"ok":' + encode(value, owner) + '}') }
function fail (id, error) { write('{"id":' + id + ',"error":' + fault(error) + '}') }
function say (run, raw) { write('{"output":' + stringify('' + run) + ',"raw":' + stringify('' + raw) + '}') }
function note (fields) { write(encode(fields, null)) }

/** Ask Python something; resolves to its answer. */
function ask (op, run, payload, owner) {
  return new Promise((resolve, reject) => {
    const number = ++waiting
    answers[number] = { resolve, reject }
    write('{"call":' + number + ',"op":' + stringify(op) + ',"run":' + stringify('' + run) + ',"payload":' + encode(payload, owner) + '}')
  })
}

/** Return how many questions are open. */
function pending () { return ownKeys(answers).length }

/** Settle what `ask` began; returns false for a message that is not an answer. */
function settle (message) {
  if (message.answer === undefined) return false
  const waiter = answers[message.answer]
  delete answers[message.answer]
  if (waiter) message.error === undefined ? waiter.resolve(message.ok) : waiter.reject(Object.assign(new Error(message.error), { code: message.code }))
  return true
}

/** Return a function that takes chunks of bytes and calls `handle` with every whole message. */
function reader (handle) {
  const decoder = new StringDecoder('utf8')
  let pending = ''
  return chunk => {
    const text = apply(decoderWrite, decoder, [chunk])
    let from = 0
    for (;;) {
      const end = apply(indexOf, text, ['\n', from])
      if (end < 0) break
      const line = pending + apply(slice, text, [from, end])
      pending = ''
      from = end + 1
      if (line) handle(decode(line))
    }
    pending += apply(slice, text, [from])
  }
}

module.exports = { setUp, reply, fail, say, note, ask, pending, settle, reader }

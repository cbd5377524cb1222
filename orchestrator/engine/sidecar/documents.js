// JSON files that scripts edit (spec 7.3: json.*, self.*).
'use strict'
const fs = require('fs')
const path = require('path')
const { edit: apply } = require('./dotpath')

/** Return a JSON file's content, or null where there is none. */
function read (file) {
  let text
  try { text = fs.readFileSync(file, 'utf8') } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
  try { return JSON.parse(text.replace(/^\ufeff/, '')) } catch (error) {
    throw new SyntaxError(`${file} is not valid JSON: ${error.message}`)
  }
}

/** Set or remove dot paths in a JSON file and write it with two spaces; files of another kind are left alone. */
function edit (file, op, params) {
  if (!file.endsWith('.json')) return undefined
  const document = apply(read(file) ?? {}, op, params)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  replace(file, JSON.stringify(document, null, 2))
  return undefined
}

/** Write a file whole or not at all: a full disk or a kill leaves what was there. */
function replace (file, text) {
  let target = file
  let mode
  try {
    target = fs.realpathSync(file) // a link stays a link
    mode = fs.statSync(target).mode & 0o777
  } catch {}
  const beside = `${target}.${process.pid}.new`
  try {
    fs.writeFileSync(beside, text)
    if (mode !== undefined) fs.chmodSync(beside, mode)
    fs.renameSync(beside, target)
  } catch (error) {
    fs.rmSync(beside, { force: true })
    throw error
  }
}

module.exports = { read, edit }

// Which file a path or URI stands for (spec 5.9); orchestrator/engine/paths.py says the same in Python.
'use strict'
const fs = require('fs')
const path = require('path')

const withoutGit = uri => uri.replace(/\.git$/, '').replace(/\/+$/, '')

/** Return the `remote.origin.url` of a repository, or null. */
function origin (folder) {
  let config
  try {
    let git = path.join(folder, '.git')
    if (fs.statSync(git).isFile()) git = path.resolve(folder, fs.readFileSync(git, 'utf8').replace(/^gitdir:\s*/, '').trim())
    config = fs.readFileSync(path.join(git, 'config'), 'utf8')
  } catch { return null }
  let inside = false
  for (const line of config.split('\n')) {
    const section = /^\s*\[(.*)\]\s*$/.exec(line)
    if (section) inside = section[1].trim() === 'remote "origin"'
    const value = inside && /^\s*url\s*=\s*(.*?)\s*$/.exec(line)
    if (value) return value[1]
  }
  return null
}

/** Map the remote of every repository in `<home>/api` to its folder, in listing order. */
function gitFolders (home) {
  const found = {}
  let names = []
  try { names = fs.readdirSync(path.join(home, 'api')).sort() } catch {}
  for (const name of names) {
    const folder = path.join(home, 'api', name)
    const remote = origin(folder)
    if (remote && !(remote in found)) found[remote] = folder
  }
  return found
}

/** Return the local path of a git URI, or undefined if that repository is not installed. */
function resolveGit (uri, folders) {
  const end = uri.search(/\.git(?=\/|$)/)
  if (end < 0) throw new Error('a git repository URI must end with .git')
  const repository = uri.slice(0, end)
  for (const [remote, folder] of Object.entries(folders)) {
    if (withoutGit(remote) === repository) return path.resolve(folder, '.' + uri.slice(end + 4))
  }
  return undefined
}

/** Resolve a URI against `cwd` (5.9); undefined for a repository that is not installed. */
function filePath (uri, cwd, home, folders) {
  if (uri.startsWith('http')) return resolveGit(uri, folders ?? gitFolders(home))
  if (uri.startsWith('~/')) return path.resolve(home, uri.slice(2))
  if (path.isAbsolute(uri)) return path.resolve(uri)
  if (!cwd) throw new Error('uri must be either an http uri or start with ~/')
  return path.resolve(cwd, uri)
}

/** Resolve `kernel.script.*` arguments: a base that is a git URL, `~/…` or absolute, then parts; false if not installed. */
function scriptPath (home, base, ...parts) {
  const root = filePath(String(base), undefined, home)
  return root === undefined ? false : path.resolve(root, ...parts)
}

/** Return the app folder that a path lies in, or null. */
function appOf (file, home) {
  const relative = path.relative(path.join(home, 'api'), file)
  if (!relative || relative.startsWith('..') || path.isAbsolute(relative)) return null
  return path.join(home, 'api', relative.split(path.sep)[0])
}

module.exports = { filePath, resolveGit, scriptPath, gitFolders, appOf }

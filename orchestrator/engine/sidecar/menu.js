// An app's metadata and menu (spec 1.2, 3.1, 3.2).
'use strict'
const path = require('path')
const loader = require('./loader')
const { isPlain } = require('./codec')
const { Info } = require('./info')

const ACTIONS = ['href', 'action', 'menu', 'shell', 'run']

/** Resolve an item's link as the desktop does: `link` for a browser, `path` for a local file, `query` its arguments. */
function resolveLink (item, place) {
  const href = item.href
  if (typeof href !== 'string') return {}
  const base = typeof item.base === 'string' && item.base.startsWith('/') ? item.base : null
  if (base) return { link: base + href }
  if (/^https?:\/\//.test(href)) return { link: href }
  const cut = href.indexOf('?')
  const file = cut < 0 ? href : href.slice(0, cut)
  const query = cut < 0 ? {} : Object.fromEntries(new URLSearchParams(href.slice(cut + 1)))
  if (href.startsWith('/')) return { link: href, query }
  const target = path.resolve(place.folder, file)
  if (item.fs || item.command) return { link: target, path: target, query }
  return { link: path.posix.join('/api', place.app, place.root, href), path: target, query }
}

async function convert (items, place, depth = 0) {
  const out = []
  if (!Array.isArray(items) || depth > 20) return out
  for (const item of items) {
    if (!isPlain(item) && (typeof item !== 'object' || item === null || Array.isArray(item))) continue
    if (typeof item.filter === 'function' && !(await item.filter(place.kernel, place.info))) continue
    if (item.type === 'label' || !ACTIONS.some(key => item[key])) continue
    const { filter, menu, ...rest } = item
    const shown = { ...rest, ...resolveLink(item, place) }
    if (typeof item.when === 'string') {
      shown.text = place.state.isRunning(path.resolve(place.folder, item.when)) ? item.on ?? item.text : item.off ?? item.text
    }
    if (item.params && typeof item.params === 'object') shown.query = { ...shown.query, ...Object.fromEntries(new URLSearchParams(item.params)) }
    for (const key of ['shell', 'run']) if (shown[key]) shown[key] = place.render(shown[key], {})
    if (menu !== undefined) shown.menu = await convert(await menu, place, depth + 1)
    out.push(plain(shown))
  }
  return out
}

/** Keep what JSON can carry. */
function plain (value) {
  if (Array.isArray(value)) return value.map(plain)
  if (isPlain(value)) {
    const out = {}
    for (const key of Object.keys(value)) {
      const item = value[key]
      if (item !== undefined && typeof item !== 'function' && typeof item !== 'symbol') out[key] = plain(item)
    }
    return out
  }
  if (typeof value === 'object' && value !== null) return String(value)
  return typeof value === 'bigint' || (typeof value === 'number' && !Number.isFinite(value)) ? String(value) : value
}

/** Evaluate metadata and menu of an app; what the launcher throws becomes `error`, with an empty menu. */
async function evaluate (app, { state, home, kernel, render }) {
  const { meta, root, error, found, script } = await loader.metadata(app, kernel)
  const folder = path.join(app, root)
  const info = new Info(state, home, path.join(folder, 'pinokio.js'))
  const problems = error ? [error] : []
  let items = []
  try {
    let menu = meta.menu
    if (typeof menu === 'function') menu = await menu.call(script ?? meta, kernel, info)
    else menu = await menu
    items = await convert(menu, { kernel, info, state, folder, app: path.basename(app), root, render })
  } catch (problem) { problems.push(`the menu of ${path.basename(app)} fails: ${loader.describe(problem)}`) }
  const { menu: _, ...shown } = meta
  return { items, meta: plain(shown), root, found, error: problems.length ? problems.join('; ') : null }
}

module.exports = { evaluate }

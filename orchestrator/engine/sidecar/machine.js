// What `kernel.system`, `kernel.sysinfo` and the system facts in templates say of the machine (spec 2.6, 5.8).
'use strict'
const os = require('os')

function graphics (profile) {
  const controllers = profile.gpus.map((gpu, index) => ({
    vendor: gpu.name, model: gpu.model, bus: 'PCI', vram: index === 0 ? profile.vram * 1024 : 0, memoryTotal: index === 0 ? profile.vram * 1024 : 0,
    vramDynamic: false, driverVersion: gpu.driver ?? ''
  }))
  return { controllers, displays: [] }
}

function cpu () {
  let all = []
  try { all = os.cpus() } catch {} // hidden from confined processes on some hosts
  return { manufacturer: '', brand: all[0]?.model ?? '', speed: (all[0]?.speed ?? 0) / 1000, cores: all.length, physicalCores: all.length, processors: 1 }
}

const mem = profile => ({ total: profile.ram * 2 ** 30, free: os.freemem(), available: os.freemem(), used: Math.max(0, profile.ram * 2 ** 30 - os.freemem()) })
const osInfo = profile => ({ platform: profile.platform, distro: 'Linux', release: os.release(), kernel: os.release(), arch: profile.arch, hostname: os.hostname() })
const system = () => ({ manufacturer: '', model: '', version: '', serial: '', uuid: '', sku: '', virtual: false })

/** The facts that stand in templates under names of their own. */
function systemFacts (profile) {
  return {
    graphics: graphics(profile), cpu: cpu(), mem: mem(profile), osInfo: osInfo(profile), shell: 'bash', audio: [], system: system(),
    platform: profile.platform, arch: profile.arch, gpu: profile.gpu, gpus: profile.gpus, gpu_model: profile.gpu_model, gpu_driver: profile.gpu_driver,
    gpu_target: profile.gpu_target, vram: profile.vram, ram: profile.ram
  }
}

/** The `systeminformation` module in small: asynchronous questions that the hardware profile answers. */
function systemModule (profile) {
  const known = {
    graphics: () => graphics(profile), cpu, mem: () => mem(profile), osInfo: () => osInfo(profile), system, shell: () => 'bash', audio: () => [],
    time: () => ({ current: Date.now(), uptime: os.uptime() }), version: () => '5', diskLayout: () => [], fsSize: () => [], networkInterfaces: () => []
  }
  return new Proxy(known, {
    get: (target, name) => typeof name !== 'string' || name === 'then' ? undefined : async () => (Object.hasOwn(target, name) ? target[name]() : {})
  })
}

module.exports = { systemFacts, systemModule }

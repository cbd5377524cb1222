module.exports = {
  version: "3.0",
  title: "Gradio Hello",
  description: "Greets in a dozen languages and paints a picture from a word. No model, no GPU.",
  icon: "icon.svg",
  menu: async (kernel, info) => {
    const installed = info.exists("env")
    const running = {
      install: info.running("install.js"),
      start: info.running("start.js"),
      update: info.running("update.js"),
      reset: info.running("reset.js")
    }
    if (running.install) {
      return [{ default: true, icon: "fa-solid fa-plug", text: "Installing", href: "install.js" }]
    }
    if (!installed) {
      return [{ default: true, icon: "fa-solid fa-plug", text: "Install", href: "install.js" }]
    }
    if (running.start) {
      const { url } = info.local("start.js")
      const terminal = { icon: "fa-solid fa-terminal", text: "Terminal", href: "start.js" }
      return url
        ? [{ default: true, icon: "fa-solid fa-rocket", text: "Open Web UI", href: url }, terminal]
        : [{ ...terminal, default: true }]
    }
    if (running.update) {
      return [{ default: true, icon: "fa-solid fa-terminal", text: "Updating", href: "update.js" }]
    }
    if (running.reset) {
      return [{ default: true, icon: "fa-solid fa-terminal", text: "Resetting", href: "reset.js" }]
    }
    return [
      { default: true, icon: "fa-solid fa-power-off", text: "Start", href: "start.js" },
      { icon: "fa-solid fa-arrows-rotate", text: "Update", href: "update.js" },
      { icon: "fa-solid fa-plug", text: "Install again", href: "install.js" },
      { icon: "fa-regular fa-circle-xmark", text: "Reset", href: "reset.js", confirm: "Remove everything that was installed?" }
    ]
  }
}

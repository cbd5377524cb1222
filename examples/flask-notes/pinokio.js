module.exports = {
  version: "3.0",
  title: "Flask Notes",
  description: "A notebook in the browser: plain notes in one file.",
  icon: "icon.svg",
  menu: async (kernel, info) => {
    if (info.running("install.js")) {
      return [{ default: true, icon: "fa-solid fa-plug", text: "Installing", href: "install.js" }]
    }
    if (!info.exists("env") || !info.exists("settings.json")) {
      return [{ default: true, icon: "fa-solid fa-plug", text: "Install", href: "install.js" }]
    }
    if (info.running("start.js")) {
      const { url } = info.local("start.js")
      const terminal = { icon: "fa-solid fa-terminal", text: "Terminal", href: "start.js" }
      return url
        ? [{ default: true, icon: "fa-solid fa-book-open", text: "Open the notebook", href: url }, terminal]
        : [{ ...terminal, default: true }]
    }
    return [
      { default: true, icon: "fa-solid fa-power-off", text: "Start", href: "start.js" },
      { icon: "fa-solid fa-arrows-rotate", text: "Update", href: "update.js" },
      { icon: "fa-regular fa-circle-xmark", text: "Reset", href: "reset.js", confirm: "Remove what was installed? Your notes stay." }
    ]
  }
}

// Called by install.js and update.js: args are { venv, upgrade? }.
module.exports = {
  run: [
    {
      method: "shell.run",
      params: {
        venv: "{{args.venv}}",
        message: ["uv pip install {{args.upgrade ? '--upgrade' : ''}} -r requirements.txt"]
      }
    }
  ]
}

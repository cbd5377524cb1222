module.exports = {
  run: [
    {
      method: "shell.run",
      params: {
        venv: "env",
        message: [
          "uv pip install -r requirements.txt",
          "python -c \"import gradio; print('Gradio', gradio.__version__, 'is installed')\""
        ]
      }
    },
    {
      method: "notify",
      params: { html: "Installed. Click Start to use the app.", href: "start.js" }
    }
  ]
}

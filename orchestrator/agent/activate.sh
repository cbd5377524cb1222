# Sourced by the bash of `pinoctl shell`: activates the base conda and the app's virtual environment, as its scripts do.
if [ -n "$PINOCTL_SHELL_CONDA" ]; then
  eval "$(conda shell.bash hook)" && conda activate base
fi
if [ -n "$PINOCTL_SHELL_VENV" ]; then
  . "$PINOCTL_SHELL_VENV/bin/activate"
fi
PS1="(${PINOCTL_SHELL_APP}) \w \$ "
unset PINOCTL_SHELL_APP PINOCTL_SHELL_CONDA PINOCTL_SHELL_VENV

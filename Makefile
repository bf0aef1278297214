PYTHON ?= python3
VENV ?= .venv
# Jittor runs on Linux, and with Python up to 3.12
EXTRAS ?= $(shell $(PYTHON) -c "import sys; \
	print('dev,jittor' if sys.platform == 'linux' and sys.version_info < (3, 13) else 'dev')")

# as the command does for itself: see cli.py
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test

demo: $(VENV)/installed
	$(VENV)/bin/python demo/demo.py

test: $(VENV)/installed
	$(VENV)/bin/flake8
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

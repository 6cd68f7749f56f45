"""`python -m faltung` is `faltung`."""

import sys

from faltung.cli.main import main

sys.exit(main())

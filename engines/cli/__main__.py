"""`python -m engines.cli` is the crashcart command."""

from engines.cli import main

raise SystemExit(main())

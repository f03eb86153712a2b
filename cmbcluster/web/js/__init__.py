"""Parts that run in the browser, and their wrappers in ``parts``."""

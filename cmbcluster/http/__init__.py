"""Our own HTTP routes, beside the pages: signing in and out, opening, logs, exports."""

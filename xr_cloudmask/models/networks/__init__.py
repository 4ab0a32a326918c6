"""Networks; each module is imported when a model is loaded. Those that predict in float32 on a CPU need no torch."""

"""The engine: it keeps a registered model true to its data, and knows no dataset."""

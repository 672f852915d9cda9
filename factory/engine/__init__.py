"""The engine: records, steps, recipes, plans, the store and the build. It knows no built-in step."""

"""The measures.

Each is a module with NAME, ABOUT, `steps(scale, results)` (its steps, in order) and `section(scale, results)` (its
section of the page).
"""

from types import ModuleType

from bench.measures import closed_loop, fresh, growth, held, parts, ramp, shared, simulator, soak, store, tls

MEASURES: dict[str, ModuleType] = {
    module.NAME: module
    for module in (closed_loop, fresh, held, shared, parts, ramp, tls, store, growth, simulator, soak)
}

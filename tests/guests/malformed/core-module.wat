;; A core module: what a compiler gives before its output is made a component.
(module
  (memory (export "memory") 1)
  (func (export "add") (param i32) (result i32) unreachable))

;; A component that asks for the environment: what most toolchains write if they are not told otherwise.
(component
  (import "wasi:cli/environment@0.2.0" (instance
    (export "get-arguments" (func (result (list string)))))))

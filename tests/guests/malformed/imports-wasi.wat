;; A component that asks for the environment, in a version of WASI for which there are no stand-ins.
(component
  (import "wasi:cli/environment@0.3.0" (instance
    (export "get-arguments" (func (result (list string)))))))

;; A component with an export of the contract's name, but not of its type.
(component
  (core module $code (func (export "add") (param i32) (result i32) i32.const 42))
  (core instance $instance (instantiate $code))
  (func (export "add") (param "request" u32) (result u32) (canon lift (core func $instance "add"))))

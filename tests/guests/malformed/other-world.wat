;; A component of another world: it exports nothing that the contract asks for.
(component
  (core module $code (func (export "greet") (result i32) i32.const 42))
  (core instance $instance (instantiate $code))
  (func (export "greet") (result u32) (canon lift (core func $instance "greet"))))

;; A component with every export of the contract's names, and none of its types.
(component
  (core module $code (func (export "any") (param i32) (result i32) i32.const 42))
  (core instance $instance (instantiate $code))
  (func $any (param "any" u32) (result u32) (canon lift (core func $instance "any")))
  (export "check-config" (func $any))
  (export "add" (func $any))
  (export "del" (func $any))
  (export "node" (func $any)))

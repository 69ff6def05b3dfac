;; A component for a contract that this podwire does not have: its leases are those of a version to come.
(component
  (import "podwire:policy/leases@0.9.0" (instance
    (export "reserve" (func (param "address" string) (result bool)))))
  (core module $code (func (export "add") (param i32) (result i32) i32.const 42))
  (core instance $instance (instantiate $code))
  (func $any (param "any" u32) (result u32) (canon lift (core func $instance "add")))
  (export "check-config" (func $any))
  (export "add" (func $any))
  (export "del" (func $any))
  (export "node" (func $any)))

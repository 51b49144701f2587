;; Calls a function through a table as if it were another.
(memory (export "memory") 1)
(type $other (func (param i64) (result i32)))
(table funcref (elem $it))
(func $it (result i32) i32.const 0)
(func (export "stats") (result i32)
  (call_indirect (type $other) (i64.const 1) (i32.const 0)))

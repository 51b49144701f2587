;; Divides by zero.
(memory (export "memory") 1)
(func $share_of_nothing (export "stats") (result i32)
  (i32.div_u (i32.const 1) (i32.load (i32.const 0))))

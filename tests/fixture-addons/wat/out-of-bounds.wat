;; Reads behind its memory.
(memory (export "memory") 1)
(func $read_too_far (export "stats") (result i32)
  (i32.load (i32.const 0x7fffffff)))

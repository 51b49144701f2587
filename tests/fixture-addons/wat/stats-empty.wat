;; Answers with nothing.
(memory (export "memory") 1)
(func (export "stats") (result i32) i32.const 0)

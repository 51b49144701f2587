;; Answers with a case that a result does not have.
(memory (export "memory") 1)
(data (i32.const 0) "\09")
(func (export "stats") (result i32) i32.const 0)

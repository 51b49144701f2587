;; Answers with a document of 10 MB.
(memory (export "memory") 160)
(data (i32.const 4) "\10\00\00\00\80\96\98\00")
(func (export "stats") (result i32)
  (memory.fill (i32.const 16) (i32.const 120) (i32.const 10000000))
  i32.const 0)

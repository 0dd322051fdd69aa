from dataclasses import replace
def test_shot(report, evaluation, stats, history):
    import pathlib
    from duologue.evaluate import Evaluation
    un = Evaluation(replace(evaluation.base, loss=None, perplexity=None), replace(evaluation.tuned, loss=None, perplexity=None,tokens_per_second=None), evaluation.prompts)
    hist=tuple(replace(history[i%69],step=i+1,loss=2+1/(i+1)) for i in range(3000))
    pathlib.Path("/tmp/ev/report.html").write_text(report(evaluation=un, stats=replace(stats,num_validation_examples=0), validation_points=(), picture=None, history=hist, plan_versus_actual={"tokens_per_second":{"plan":100.,"actual":410.},"train_minutes":{"plan":60.,"actual":13.},"memory_gib":{"plan":2.,"actual":4.}}))

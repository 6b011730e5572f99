SET search_path = public, eventbridge;

SELECT path, condition, found, matched, reason
FROM events, explain_match(event, '{"source": ["aws.codebuild"],
	"detail": {"build-status": ["FAILED", "stopped"], "project-name": [{"prefix": "shop-"}]}}')
WHERE id = 8;

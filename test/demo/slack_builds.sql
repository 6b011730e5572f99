INSERT INTO events (event) VALUES
('{"version": "0", "id": "3f1c0d52-0009-4000-8000-000000000009",
   "detail-type": "CodeBuild Build State Change", "source": "aws.codebuild",
   "account": "123456789012", "time": "2030-02-01T09:40:30Z", "region": "eu-central-1",
   "resources": ["arn:aws:codebuild:eu-central-1:123456789012:build/shop-backend:8"],
   "detail": {"build-status": "SUCCEEDED", "project-name": "shop-backend"}}'),
('{"version": "0", "id": "3f1c0d52-000a-4000-8000-00000000000a",
   "detail-type": "CodeBuild Build State Change", "source": "aws.codebuild",
   "account": "123456789012", "time": "2030-02-01T09:41:07Z", "region": "eu-central-1",
   "resources": ["arn:aws:codebuild:eu-central-1:123456789012:build/shop-frontend:42"],
   "detail": {"build-status": "FAILED", "project-name": "shop-frontend",
              "additional-information": {"initiator": "ann", "build-number": 42,
                "logs": {"deep-link": "https://ci.example.com/builds/42"}}}}');

-- Why an event matches, and why not.
SET search_path = eventbridge, public;
\set build '{"source":"aws.codebuild","detail-type":"CodeBuild Build State Change","account":"123456789012","detail":{"build-status":"FAILED","project-name":"demo ","attempt":"3","tags":[],"phases":[{"name":"BUILD","ok":false},{"name":"TEST","ok":true}]}}'

SELECT * FROM explain_match(:'build', '{"source":["aws.codebuild"],"detail":{"build-status":["FAILED","STOPPED"]}}');
-- near misses
SELECT * FROM explain_match(:'build', '{"source":["AWS.CodeBuild"],"detail":{"project-name":["demo"],"attempt":[3],"build-status":["SUCCEEDED"]}}');
SELECT * FROM explain_match(:'build', '{"detail":{"attempt":[{"numeric":[">",2]}],"build-status":[{"prefix":"fail"}],"account":["123456789012"],"tags":[{"exists":true}]}}');
SELECT * FROM explain_match(:'build', '{"detailtype":["x"],"account":[123456789012],"detail":[{"exists":true}],"detail.phases.ok":["false"],"nowhere":["x"]}');
-- right values in different elements of an array
SELECT * FROM explain_match(:'build', '{"detail":{"phases":{"name":["BUILD"],"ok":[true]}}}');
SELECT * FROM explain_match('{"p":[{"a":1,"b":2},{"b":2,"c":3},{"a":1,"c":3}]}', '{"p":{"a":[1],"b":[2],"c":[3]}}');
-- every kind of condition, satisfied
SELECT path, found, matched, reason FROM explain_match(
	'{"a":"abc","b":"abc","c":"ABC","d":"ABC","e":"ABC","f":"a-c","g":5,"h":"10.1.2.3","i":"10.0.0.8","j":"x","k":null,"l":true,"m":[1,2,3]}',
	'{"a":[{"prefix":"ab"}],"b":[{"suffix":"bc"}],"c":[{"prefix":{"equals-ignore-case":"ab"}}],"d":[{"suffix":{"equals-ignore-case":"bc"}}],
	  "e":[{"equals-ignore-case":"abc"}],"f":[{"wildcard":"a*c"}],"g":[{"numeric":[">",4,"<=",5]}],"h":[{"cidr":"10.0.0.0/8"}],"i":["10.0.0.08"],
	  "j":[{"anything-but":"y"}],"k":[{"exists":true}],"l":[true],"m":[2],"n":[{"exists":false}]}');
-- and not
SELECT path, found, matched, reason FROM explain_match(
	'{"a":"x","b":"true","c":"null","d":5,"e":true,"f":["x","y"],"g":"xABC"}',
	'{"a":[{"exists":false}],"b":[true],"c":[null],"d":["5"],"e":["true"],"f":["z"],"g":[{"suffix":"abc"}]}');
-- $or: a row for each field of every alternative
SELECT * FROM explain_match('{"a":1,"b":"x"}', '{"$or":[{"a":[2]},{"b":["y"]}],"c":[{"exists":false}]}');
-- the rows agree with the matcher
SELECT count(*) AS wrong
FROM (VALUES ('{"a":1,"b":[{"c":1,"d":2},{"c":3,"d":4}]}'::jsonb), ('{"a":2}'), ('{"b":{"c":1,"d":4},"a":1}')) e(event),
     (VALUES ('{"a":[1]}'::event_pattern), ('{"a":[1],"b":{"c":[1]}}'), ('{"b":{"c":[1],"d":[4]}}'), ('{"b":{"c":[3],"d":[4]}}'), ('{"b":{"c":[{"exists":false}]}}')) p(pattern)
WHERE (event @~ pattern) <> (SELECT bool_and(matched) FROM explain_match(event, pattern));

-- a starting pattern
SELECT event_pattern_from(:'build');
SELECT event_pattern_from(:'build', '{$.source,detail.build-status,detail.phases}');
SELECT event_pattern_from('{"eventName":"INSERT","dynamodb":{"Keys":{"id":{"S":"1"}}}}');
SELECT event_pattern_from('{"x":{"y":[1,"b",null]},"z":true}');
SELECT matches(:'build', event_pattern_from(:'build')) AS matches_its_sample, event_pattern_from(NULL) IS NULL AS of_null;
SELECT event_pattern_from(:'build', '{detail.nothing}');
SELECT event_pattern_from(:'build', ARRAY[NULL]);
SELECT event_pattern_from('[]');
SELECT event_pattern_from('{}');

-- Cases made from the description of the language, word by word: each says what
-- is right (t, f, or the beginning of the message), only wrong ones are shown.
-- Pattern sets and the index on events must answer alike.
SET search_path = eventbridge, public;

CREATE TEMP TABLE cases (expect text, pattern text, event text, id int GENERATED ALWAYS AS IDENTITY);

-- numbers
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[300]}~{"a":300.0}
t~{"a":[300.0]}~{"a":300}
t~{"a":[3e2]}~{"a":300}
t~{"a":[1e2]}~{"a":100}
t~{"a":[100]}~{"a":1e2}
t~{"a":[1E+2]}~{"a":1e2}
t~{"a":[0]}~{"a":-0}
t~{"a":[-0.0]}~{"a":0}
t~{"a":[-0]}~{"a":0.0}
t~{"a":[0e10]}~{"a":0}
f~{"a":[300]}~{"a":"300"}
f~{"a":["300"]}~{"a":300}
t~{"a":[0.1]}~{"a":0.10}
t~{"a":[1e-1]}~{"a":0.1}
f~{"a":[0.1]}~{"a":0.1000000000000000055}
t~{"a":[123456789012345678901234567890]}~{"a":123456789012345678901234567890}
f~{"a":[123456789012345678901234567890]}~{"a":123456789012345678901234567891}
t~{"a":[1e308]}~{"a":1e308}
t~{"a":[{"numeric":["=",3.018e2]}]}~{"a":301.8}
t~{"a":[{"numeric":["=",0]}]}~{"a":-0.0}
t~{"a":[{"numeric":[">",100]}]}~{"a":101.0}
f~{"a":[{"numeric":[">",100]}]}~{"a":100.0}
t~{"a":[{"numeric":[">=",100]}]}~{"a":1e2}
f~{"a":[{"numeric":[">",100]}]}~{"a":"300"}
f~{"a":[{"numeric":[">",100]}]}~{"a":null}
f~{"a":[{"numeric":[">",0]}]}~{"a":true}
t~{"a":[{"numeric":[">",0,"<=",5]}]}~{"a":5}
f~{"a":[{"numeric":[">",0,"<=",5]}]}~{"a":0}
f~{"a":[{"numeric":[">",0,"<",5]}]}~{"a":5}
t~{"a":[{"numeric":[">=",-5,"<",5e0]}]}~{"a":-5.0}
t~{"a":[{"numeric":["<",-1e-5]}]}~{"a":-0.0001}
f~{"a":[{"numeric":["<",-1e-5]}]}~{"a":-0.000001}
t~{"a":[{"numeric":["<",10]}]}~{"a":["x",99,9]}
f~{"a":[{"numeric":["<",10]}]}~{"a":["9",99,null]}
t~{"a":[{"numeric":["=",5e9]}]}~{"a":5000000000}
t~{"a":[{"numeric":[">",5e9]}]}~{"a":5000000000.000001}
e:Cannot compare number : 1e400~{"a":[{"numeric":["<",1e400]}]}~{}
e:Value of < must be numeric~{"a":[{"numeric":[">",0,"<"]}]}~{}
e:Bad numeric range operator: >~{"a":[{"numeric":[">",0,">",0]}]}~{}
e:Value of numeric must be an array.~{"a":[{"numeric":10}]}~{}
e:Invalid member in numeric match: 1~{"a":[{"numeric":[1]}]}~{}
e:Invalid member in numeric match: ]~{"a":[{"numeric":[]}]}~{}
e:Value of equals must be numeric~{"a":[{"numeric":["=","1"]}]}~{}
e:Value of >= must be numeric~{"a":[{"numeric":[">=",null]}]}~{}
e:Value of < must be numeric~{"a":[{"numeric":["<",true]}]}~{}
e:Unrecognized numeric range operator: !~{"a":[{"numeric":["!",1]}]}~{}
e:Unrecognized numeric range operator: ==~{"a":[{"numeric":["==",1]}]}~{}
e:Bad value in numeric range: 2~{"a":[{"numeric":[">",1,2]}]}~{}
e:Too many terms in numeric range expression~{"a":[{"numeric":[">",1,"<",2,"<",3]}]}~{}
e:Too many elements in numeric expression~{"a":[{"numeric":["<",1,">",0]}]}~{}
e:Too many elements in numeric expression~{"a":[{"numeric":["=",1,2]}]}~{}
e:Bottom must be less than top~{"a":[{"numeric":[">",5,"<",1]}]}~{}
e:Bottom must be less than top~{"a":[{"numeric":[">=",5,"<=",5]}]}~{}
e:Bottom must be less than top~{"a":[{"numeric":[">=",0,"<=",-0.0]}]}~{}
e:Cannot compare number : 1234567890.123456789~{"a":[{"numeric":["=",1234567890.123456789]}]}~{}
e:Cannot compare number : 1234567890.123456789~{"a":[{"anything-but":1234567890.123456789}]}~{}
e:Too many elements in numeric expression~{"a":[{"numeric":["=",1],"prefix":"a"}]}~{}
e:Invalid numeric value: Leading zeroes not allowed~{"a":[01]}~{}
e:Value of >= must be numeric~{"a":[{"numeric":[">="]}]}~{}
e:Value of equals must be numeric~{"a":[{"numeric":["="]}]}~{}
\.

-- strings
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":["é"]}~{"a":"\u00e9"}
f~{"a":["é"]}~{"a":"e\u0301"}
t~{"a":["\ud83d\ude00"]}~{"a":"😀"}
t~{"a":[{"prefix":"\ud83d\ude00"}]}~{"a":"😀x"}
t~{"a":["a\/b"]}~{"a":"a/b"}
t~{"a":["\u0041"]}~{"a":"A"}
t~{"a":["\t\n\r\b\f"]}~{"a":"\u0009\u000a\u000d\u0008\u000c"}
f~{"a":["x "]}~{"a":"x"}
t~{"a":[""]}~{"a":""}
f~{"a":[""]}~{"a":null}
f~{"a":["null"]}~{"a":null}
f~{"a":[null]}~{"a":"null"}
t~{"a":[null]}~{"a":null}
t~{"a":[null]}~{"a":[null]}
f~{"a":[null]}~{"a":[]}
f~{"a":[null]}~{}
f~{"a":[null]}~{"a":{}}
t~{"a":[true]}~{"a":true}
f~{"a":[true]}~{"a":"true"}
f~{"a":[false]}~{"a":null}
t~{"a":[false,"x"]}~{"a":[true,false]}
f~{"a":["A"]}~{"a":"a"}
f~{"A":["a"]}~{"a":"a"}
t~{"\u0061":["a"]}~{"a":"a"}
t~{"a":["\""]}~{"a":"\""}
t~{"a":["\\"]}~{"a":"\\"}
t~{"a":["*"]}~{"a":"*"}
f~{"a":["*"]}~{"a":"b"}
\.

-- prefix suffix
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[{"prefix":""}]}~{"a":"anything"}
t~{"a":[{"prefix":""}]}~{"a":""}
f~{"a":[{"prefix":""}]}~{"a":1}
f~{"a":[{"prefix":""}]}~{"a":null}
t~{"a":[{"suffix":""}]}~{"a":""}
f~{"a":[{"suffix":""}]}~{"a":12}
f~{"a":[{"prefix":"x\""}]}~{"a":"x"}
t~{"a":[{"prefix":"x\""}]}~{"a":"x\"y"}
t~{"a":[{"suffix":"\"x"}]}~{"a":"y\"x"}
f~{"a":[{"prefix":"abc"}]}~{"a":"ab"}
t~{"a":[{"prefix":"abc"}]}~{"a":"abc"}
t~{"a":[{"suffix":"é"}]}~{"a":"café"}
f~{"a":[{"suffix":"\u0301"}]}~{"a":"café"}
f~{"a":[{"suffix":".PNG"}]}~{"a":"image.png"}
t~{"a":[{"suffix":{"equals-ignore-case":".png"}}]}~{"a":"image.PNG"}
t~{"a":[{"prefix":{"equals-ignore-case":"EventB"}}]}~{"a":"EvEnTb"}
f~{"a":[{"prefix":{"equals-ignore-case":"EventBx"}}]}~{"a":"EvEnTb"}
t~{"a":[{"prefix":{"equals-ignore-case":""}}]}~{"a":"x"}
t~{"a":[{"suffix":{"equals-ignore-case":""}}]}~{"a":""}
t~{"a":[{"prefix":{"equals-ignore-case":"ß"}}]}~{"a":"SSx"}
t~{"a":[{"suffix":{"equals-ignore-case":"ß"}}]}~{"a":"xSS"}
f~{"a":[{"suffix":{"equals-ignore-case":"ß"}}]}~{"a":"xss"}
t~{"a":[{"prefix":"10.0.0."}]}~{"a":"10.0.0.8"}
f~{"a":[{"prefix":"10.0.0.8"}]}~{"a":"10.0.0.08"}
t~{"a":[{"prefix":"a"},{"suffix":"z"}]}~{"a":"xz"}
\.

-- equals-ignore-case
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[{"equals-ignore-case":"É"}]}~{"a":"é"}
t~{"a":[{"equals-ignore-case":"é"}]}~{"a":"É"}
t~{"a":[{"equals-ignore-case":"ß"}]}~{"a":"ß"}
t~{"a":[{"equals-ignore-case":"ß"}]}~{"a":"SS"}
f~{"a":[{"equals-ignore-case":"ß"}]}~{"a":"ss"}
f~{"a":[{"equals-ignore-case":"ß"}]}~{"a":"Ss"}
f~{"a":[{"equals-ignore-case":"STRASSE"}]}~{"a":"straße"}
t~{"a":[{"equals-ignore-case":"straße"}]}~{"a":"STRASSE"}
f~{"a":[{"equals-ignore-case":"ΣΑΣ"}]}~{"a":"σας"}
t~{"a":[{"equals-ignore-case":"σας"}]}~{"a":"ΣΑΣ"}
t~{"a":[{"equals-ignore-case":"ς"}]}~{"a":"Σ"}
f~{"a":[{"equals-ignore-case":"ς"}]}~{"a":"σ"}
t~{"a":[{"equals-ignore-case":"\u212a"}]}~{"a":"k"}
f~{"a":[{"equals-ignore-case":"\u212a"}]}~{"a":"K"}
t~{"a":[{"equals-ignore-case":"\u212a"}]}~{"a":"\u212a"}
f~{"a":[{"equals-ignore-case":"k"}]}~{"a":"\u212a"}
t~{"a":[{"equals-ignore-case":"😀"}]}~{"a":"😀"}
f~{"a":[{"equals-ignore-case":"😀"}]}~{"a":"😁"}
t~{"a":[{"equals-ignore-case":""}]}~{"a":""}
f~{"a":[{"equals-ignore-case":""}]}~{"a":"x"}
f~{"a":[{"equals-ignore-case":"i"}]}~{"a":"İ"}
f~{"a":[{"equals-ignore-case":"I"}]}~{"a":"ı"}
t~{"a":[{"equals-ignore-case":"ı"}]}~{"a":"I"}
f~{"a":[{"equals-ignore-case":"ı"}]}~{"a":"i"}
t~{"a":[{"equals-ignore-case":"İ"}]}~{"a":"i\u0307"}
f~{"a":[{"equals-ignore-case":"İ"}]}~{"a":"i"}
t~{"a":[{"equals-ignore-case":"ﬁ"}]}~{"a":"FI"}
f~{"a":[{"equals-ignore-case":"ﬁ"}]}~{"a":"fi"}
t~{"a":[{"equals-ignore-case":"ŉ"}]}~{"a":"ʼN"}
t~{"a":[{"equals-ignore-case":"ǅ"}]}~{"a":"ǆ"}
t~{"a":[{"equals-ignore-case":"ǅ"}]}~{"a":"Ǆ"}
t~{"a":[{"equals-ignore-case":"ж"}]}~{"a":"Ж"}
t~{"a":[{"equals-ignore-case":"ÿ"}]}~{"a":"Ÿ"}
t~{"a":[{"equals-ignore-case":"µ"}]}~{"a":"Μ"}
f~{"a":[{"equals-ignore-case":"300"}]}~{"a":300}
f~{"a":[{"equals-ignore-case":"null"}]}~{"a":null}
t~{"a":[{"equals-ignore-case":"x"}]}~{"a":["y","X"]}
e:equals-ignore-case match pattern must be a string~{"a":[{"equals-ignore-case":["x"]}]}~{}
e:equals-ignore-case match pattern must be a string~{"a":[{"equals-ignore-case":{"prefix":"ec2"}}]}~{}
e:prefix match pattern must be a string~{"a":[{"prefix":123}]}~{}
e:prefix match pattern must be a string~{"a":[{"prefix":["x"]}]}~{}
e:suffix match pattern must be a string~{"a":[{"suffix":null}]}~{}
e:suffix match pattern must be a string~{"a":[{"suffix":[".png"]}]}~{}
e:wildcard match pattern must be a string~{"a":[{"wildcard":true}]}~{}
e:wildcard match pattern must be a string~{"a":[{"wildcard":["*"]}]}~{}
e:Unsupported prefix pattern: x~{"a":[{"prefix":{"x":"a"}}]}~{}
e:Unsupported suffix pattern: wildcard~{"a":[{"suffix":{"wildcard":"a"}}]}~{}
e:Prefix expression name not found~{"a":[{"prefix":{}}]}~{}
e:Suffix expression name not found~{"a":[{"suffix":{}}]}~{}
e:equals-ignore-case match pattern must be a string~{"a":[{"prefix":{"equals-ignore-case":1}}]}~{}
e:equals-ignore-case match pattern must be a string~{"a":[{"suffix":{"equals-ignore-case":["a"]}}]}~{}
e:exact match pattern must be a string~{"a":[{"exactly":1}]}~{}
t~{"a":[{"exactly":"x"}]}~{"a":"x"}
f~{"a":[{"exactly":"10.0.0.8"}]}~{"a":"10.0.0.08"}
\.

-- wildcard
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[{"wildcard":"*"}]}~{"a":""}
t~{"a":[{"wildcard":"*"}]}~{"a":"x"}
f~{"a":[{"wildcard":"*"}]}~{"a":1}
f~{"a":[{"wildcard":"*"}]}~{"a":null}
f~{"a":[{"wildcard":""}]}~{"a":"x"}
t~{"a":[{"wildcard":""}]}~{"a":""}
f~{"a":[{"wildcard":"ab*ba"}]}~{"a":"aba"}
t~{"a":[{"wildcard":"ab*ba"}]}~{"a":"abba"}
t~{"a":[{"wildcard":"/Users/*/dir/dir/dir/dir/dir/doc.txt"}]}~{"a":"/Users/ls_user/dir/dir/dir/dir/dir/doc.txt"}
f~{"a":[{"wildcard":"/Users/*/doc.txt"}]}~{"a":"/Users/x/notmatchingdoc.txt"}
t~{"a":[{"wildcard":"a\\*b"}]}~{"a":"a*b"}
f~{"a":[{"wildcard":"a\\*b"}]}~{"a":"axb"}
t~{"a":[{"wildcard":"a\\\\b"}]}~{"a":"a\\b"}
t~{"a":[{"wildcard":"a\\\\*b"}]}~{"a":"a\\xxb"}
t~{"a":[{"wildcard":"*\\**"}]}~{"a":"x*y"}
f~{"a":[{"wildcard":"*\\**"}]}~{"a":"xy"}
t~{"a":[{"wildcard":"\\**"}]}~{"a":"*"}
t~{"a":[{"wildcard":"*\u00e9*"}]}~{"a":"café au"}
t~{"a":[{"wildcard":"*😀"}]}~{"a":"a😀"}
f~{"a":[{"wildcard":"A*"}]}~{"a":"abc"}
t~{"a":[{"wildcard":"\u002a"}]}~{"a":"x"}
t~{"a":[{"wildcard":"*a*"}]}~{"a":"a"}
t~{"a":[{"wildcard":"a*"}]}~{"a":"a"}
t~{"a":[{"wildcard":"x*x"}]}~{"a":"xx"}
f~{"a":[{"wildcard":"x*x"}]}~{"a":"x"}
e:Consecutive wildcard characters at pos 26~{"a":[{"wildcard":"arn:aws:events:us-east-1:**:event-bus/*"}]}~{}
e:Consecutive wildcard characters at pos 1~{"a":[{"wildcard":"**"}]}~{}
e:Consecutive wildcard characters at pos 1~{"a":[{"wildcard":"***"}]}~{}
e:Invalid escape character at pos 2~{"a":[{"wildcard":"a\\x"}]}~{}
e:Invalid escape character at pos 2~{"a":[{"wildcard":"a\\"}]}~{}
e:Rule is too complex - try using fewer wildcard characters or fewer repeating character sequences after a wildcard character~{"a":[{"wildcard":"*:*:*:*:*:event-bus/*"}]}~{}
\.

-- anything-but
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[{"anything-but":0}]}~{"a":789}
f~{"a":[{"anything-but":123}]}~{"a":123}
f~{"a":[{"anything-but":123}]}~{"a":1.23e2}
t~{"a":[{"anything-but":123}]}~{"a":"123"}
t~{"a":[{"anything-but":"a"}]}~{"a":null}
t~{"a":[{"anything-but":"a"}]}~{"a":true}
f~{"a":[{"anything-but":"a"}]}~{}
f~{"a":[{"anything-but":"a"}]}~{"a":[]}
f~{"a":[{"anything-but":"a"}]}~{"a":{}}
t~{"a":[{"anything-but":"x"}]}~{"a":["x","y"]}
f~{"a":[{"anything-but":"x"}]}~{"a":["x","x"]}
f~{"a":[{"anything-but":["a","b"]}]}~{"a":"b"}
t~{"a":[{"anything-but":["a","b"]}]}~{"a":["b","c"]}
t~{"a":[{"anything-but":[1,2]}]}~{"a":"1"}
f~{"a":[{"anything-but":[1,2]}]}~{"a":2.0}
t~{"a":[{"anything-but":{"prefix":"init"}}]}~{"a":12}
t~{"a":[{"anything-but":{"prefix":"init"}}]}~{"a":null}
f~{"a":[{"anything-but":{"prefix":["init","post"]}}]}~{"a":"post-init"}
t~{"a":[{"anything-but":{"suffix":".txt"}}]}~{"a":"file.txt.bak"}
f~{"a":[{"anything-but":{"suffix":[".txt",".bak"]}}]}~{"a":"file.txt.bak"}
f~{"a":[{"anything-but":{"equals-ignore-case":["initializing","stopped"]}}]}~{"a":"Stopped"}
t~{"a":[{"anything-but":{"equals-ignore-case":"initializing"}}]}~{"a":null}
f~{"a":[{"anything-but":{"equals-ignore-case":"initializing"}}]}~{}
f~{"a":[{"anything-but":{"equals-ignore-case":"ß"}}]}~{"a":"SS"}
t~{"a":[{"anything-but":{"equals-ignore-case":"ß"}}]}~{"a":"ss"}
t~{"a":[{"anything-but":{"equals-ignore-case":""}}]}~{"a":"x"}
f~{"a":[{"anything-but":{"equals-ignore-case":""}}]}~{"a":""}
t~{"a":[{"anything-but":{"wildcard":"*/dir/*"}}]}~{"a":"dir/init/file"}
f~{"a":[{"anything-but":{"wildcard":"*/init/*"}}]}~{"a":"dir/init/file"}
t~{"a":[{"anything-but":{"wildcard":""}}]}~{"a":"dir/init/file"}
f~{"a":[{"anything-but":{"wildcard":["*/init/*","*/dir/*"]}}]}~{"a":"dir/init/dir"}
f~{"a":[{"anything-but":{"wildcard":"*"}}]}~{"a":"x"}
t~{"a":[{"anything-but":{"wildcard":"*"}}]}~{"a":1}
f~{"a":[{"anything-but":""}]}~{"a":""}
t~{"a":[{"anything-but":""}]}~{"a":"x"}
t~{"a":[{"anything-but":"a"},{"exists":false}]}~{}
t~{"a":[{"anything-but":"a"},{"anything-but":"b"}]}~{"a":"a"}
t~{"a":[{"numeric":[">",100]},{"anything-but":"101"}]}~{"a":"42"}
f~{"a":[{"numeric":[">",100]},{"anything-but":"101"}]}~{"a":"101"}
t~{"a":[{"anything-but":"10.0.0.8"}]}~{"a":"10.0.0.9"}
e:Value of anything-but must be an array or single string/number value.~{"a":[{"anything-but":null}]}~{}
e:Value of anything-but must be an array or single string/number value.~{"a":[{"anything-but":true}]}~{}
e:Inside anything but list, start|null|boolean is not supported.~{"a":[{"anything-but":["s",null]}]}~{}
e:Inside anything but list, start|null|boolean is not supported.~{"a":[{"anything-but":[true]}]}~{}
e:Inside anything but list, start|null|boolean is not supported.~{"a":[{"anything-but":["s",["t"]]}]}~{}
e:Inside anything but list, start|null|boolean is not supported.~{"a":[{"anything-but":[{"prefix":"x"}]}]}~{}
e:Inside anything but list, either all values are number or string, mixed type is not supported~{"a":[{"anything-but":["a",1]}]}~{}
e:Inside anything but list, either all values are number or string, mixed type is not supported~{"a":[{"anything-but":[]}]}~{}
e:Value of anything-but must be an array or single string/number value.~{"a":[{"anything-but":{"prefix":{"equals-ignore-case":"file"}}}]}~{}
e:Value of anything-but must be an array or single string/number value.~{"a":[{"anything-but":{"suffix":{"equals-ignore-case":"file"}}}]}~{}
e:Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.~{"a":[{"anything-but":{"equals-ignore-case":123}}]}~{}
e:Inside anything-but/equals-ignore-case list, number|start|null|boolean is not supported.~{"a":[{"anything-but":{"equals-ignore-case":[123,456]}}]}~{}
e:prefix/suffix match pattern must be a string~{"a":[{"anything-but":{"prefix":123}}]}~{}
e:prefix/suffix match pattern must be a string~{"a":[{"anything-but":{"suffix":[null,".txt"]}}]}~{}
e:Null prefix/suffix not allowed~{"a":[{"anything-but":{"prefix":""}}]}~{}
e:Null prefix/suffix not allowed~{"a":[{"anything-but":{"suffix":["a",""]}}]}~{}
e:wildcard match pattern must be a string~{"a":[{"anything-but":{"wildcard":123}}]}~{}
e:wildcard match pattern must be a string~{"a":[{"anything-but":{"wildcard":[123,"*"]}}]}~{}
e:Anything-But expression name not found~{"a":[{"anything-but":{}}]}~{}
e:Unsupported anything-but pattern: numeric~{"a":[{"anything-but":{"numeric":["=",1]}}]}~{}
e:Unsupported anything-but pattern: cidr~{"a":[{"anything-but":{"cidr":"10.0.0.0/8"}}]}~{}
e:Unsupported anything-but pattern: exists~{"a":[{"anything-but":{"exists":true}}]}~{}
e:Consecutive wildcard characters at pos 2~{"a":[{"anything-but":{"wildcard":"a**"}}]}~{}
e:~{"a":[{"anything-but":{"prefix":[]}}]}~{}
e:~{"a":[{"anything-but":{"wildcard":[]}}]}~{}
e:~{"a":[{"anything-but":{"equals-ignore-case":[]}}]}~{}
e:~{"a":[{"anything-but":{"prefix":"a","suffix":"b"}}]}~{}
e:Too many elements in numeric expression~{"a":[{"anything-but":"a","prefix":"b"}]}~{}
e:Only one key allowed in match expression~{"a":[{"prefix":"b","suffix":"a"}]}~{}
e:Match expression name not found~{"a":[{}]}~{}
e:Unrecognized match type EXISTS~{"a":[{"EXISTS":true}]}~{}
e:Unrecognized match type NUMERIC~{"a":[{"NUMERIC":["=",5]}]}~{}
e:exists match pattern must be either true or false.~{"a":[{"exists":"true"}]}~{}
e:exists match pattern must be either true or false.~{"a":[{"exists":null}]}~{}
e:exists match pattern must be either true or false.~{"a":[{"exists":1}]}~{}
e:Match value must be String, number, true, false, or null~{"a":[["x"]]}~{}
e:Empty arrays are not allowed~{"a":[]}~{}
e:Empty objects are not allowed~{"a":{}}~{}
e:Empty objects are not allowed~{}~{}
e:"a" must be an object or an array~{"a":"x"}~{}
e:"a" must be an object or an array~{"a":null}~{}
e:"b" must be an object or an array~{"a":{"b":true}}~{}
e:Filter is not an object~["x"]~{}
e:Filter is not an object~null~{}
e:Filter is not an object~12~{}
e:Filter is not an object~"x"~{}
e:Unexpected character (']' (code 93)): expected a valid value~{"a":["x",]}~{}
e:Unexpected end-of-input~{"a":["x"]~{}
e:Unrecognized token 'this': was expecting~this is valid json but not a dict~{}
e:Unexpected character (''' (code 39)): was expecting double-quote to start field name~{'bad': 'quotation'}~{}
\.

-- exists
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[{"exists":true}]}~{"a":null}
t~{"a":[{"exists":true}]}~{"a":""}
t~{"a":[{"exists":true}]}~{"a":false}
f~{"a":[{"exists":true}]}~{"a":{"b":1}}
f~{"a":[{"exists":true}]}~{"a":[]}
f~{"a":[{"exists":true}]}~{"a":{}}
t~{"a":[{"exists":true}]}~{"a":[null]}
f~{"a":[{"exists":true}]}~{"a":[[]]}
f~{"a":[{"exists":true}]}~{"a":[{}]}
t~{"a":[{"exists":true}]}~{"a":[{},1]}
t~{"a":[{"exists":false}]}~{"a":{"b":1}}
t~{"a":[{"exists":false}]}~{"a":{}}
t~{"a":[{"exists":false}]}~{"a":[]}
f~{"a":[{"exists":false}]}~{"a":null}
f~{"a":[{"exists":false}]}~{"a":[null]}
t~{"a":[{"exists":false}]}~{"a":[[]]}
t~{"a":[{"exists":false}]}~{"a":[{"b":1}]}
t~{"a":{"b":[{"exists":false}]}}~{}
t~{"a":{"b":[{"exists":false}]}}~{"a":1}
t~{"a":{"b":[{"exists":false}]}}~{"a":{"b":{"c":1}}}
f~{"a":{"b":[{"exists":false}]}}~{"a":[{"c":1},{"b":1}]}
f~{"a":{"b":[{"exists":false}]}}~{"a":[{"b":1},{"b":2}]}
t~{"a":{"b":[{"exists":false}],"c":[2]}}~{"a":[{"b":1},{"c":2}]}
f~{"a":{"b":[{"exists":false}],"c":[2]}}~{"a":[{"b":1,"c":2},{"c":3}]}
t~{"a":{"c":[{"exists":false}],"b":[2]}}~{"a":[{"c":1},{"b":2}]}
t~{"a":[{"exists":true},{"exists":false}]}~{}
t~{"a":["x",{"exists":false}]}~{"b":1}
f~{"a":["x",{"exists":false}]}~{"a":"y"}
t~{"a":{"b":[{"exists":true}]}}~{"a":[{"k":1},{"b":"q"}]}
\.

-- arrays
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":["y"]}~{"a":[["y"],"x"]}
t~{"a":["x"]}~{"a":[["y"],"x"]}
t~{"a":["z"]}~{"a":[[["z"]]]}
f~{"p":{"f":["Anna"],"l":["Jones"]}}~{"p":[{"f":"Anna","l":"Smith"},{"f":"Jo","l":"Jones"}]}
t~{"p":{"f":["Jo"],"l":["Jones"]}}~{"p":[{"f":"Anna","l":"Smith"},{"f":"Jo","l":"Jones"}]}
t~{"p":{"f":["Anna"]},"q":{"l":["Jones"]}}~{"p":[{"f":"Jo"},{"f":"Anna"}],"q":[{"l":"Jones"},{"l":"x"}]}
f~{"p":{"q":{"a":[1],"b":[2]}}}~{"p":[{"q":[{"a":1},{"b":2}]}]}
f~{"p":{"q":{"a":[1],"b":[2]}}}~{"p":[{"q":{"a":1}},{"q":{"b":2}}]}
t~{"p":{"q":{"a":[1],"b":[2]}}}~{"p":[{"q":[{"a":1},{"a":1,"b":2}]}]}
t~{"p":{"x":[1],"q":{"a":[1]}}}~{"p":[{"x":2,"q":[{"a":1}]},{"x":1,"q":[{"a":0},{"a":1}]}]}
f~{"p":{"x":[1],"q":{"a":[1]}}}~{"p":[{"x":2,"q":[{"a":1}]},{"x":1,"q":[{"a":0}]}]}
t~{"a":{"b":[1]}}~{"a":[[{"b":1}]]}
f~{"a":{"b":[1],"c":[2]}}~{"a":[[{"b":1}],[{"c":2}]]}
t~{"a":{"b":[1],"c":[2]}}~{"a":[[{"b":1,"c":2}]]}
t~{"a":{"b":[1],"c":[2]}}~{"a":{"b":[0,1],"c":[2,3]}}
t~{"a":[1],"b":[1]}~{"a":[0,1],"b":[1,0]}
t~{"a":["x"]}~{"a":["x",{"b":1}]}
t~{"a":{"b":[1]}}~{"a":["x",{"b":1}]}
f~{"a":["x"]}~{"a":{"x":"x"}}
f~{"a":{"b":["x"]}}~{"a":"x"}
f~{"a":{"b":["x"]}}~{"a":"{\"b\":\"x\"}"}
\.

-- keys with dots
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":{"b":[1]}}~{"a.b":1}
t~{"a.b":[1]}~{"a":{"b":1}}
t~{"a.b":[1]}~{"a.b":1}
f~{"a":{"b":[1]}}~{"a.b":{"b":1}}
t~{"a":{"b":{"b":[1]}}}~{"a.b":{"b":1}}
t~{"a.b.c":[1]}~{"a":{"b.c":1}}
t~{"a":{"b.c":[1]}}~{"a.b":{"c":1}}
t~{"a.b":[1]}~{"a":{"b":2},"a.b":1}
t~{"a.b":[2]}~{"a":{"b":2},"a.b":1}
f~{"a.b":[{"exists":false}]}~{"a.b":1}
t~{"a.b":["x"],"a":{"c":["y"]}}~{"a":{"b":"x","c":"y"}}
t~{"a.b":["x"],"a":["q"]}~{"a":["q",{"b":"x"}]}
t~{"a.b":["x"],"a":["q"]}~{"a":[{"b":"x"},"r","q"]}
f~{"a.b":["x"],"a":["q"]}~{"a":["r",{"b":"x"}]}
f~{"a.b":["x"],"a":["q"]}~{"a":["q",{"b":"y"}]}
f~{"a.b":["x"],"a":["q"]}~{"a":"q"}
f~{"a.b":["x"],"a":["q"]}~{"a":{"b":"x"}}
t~{"a.b":["x"],"a":["q"]}~{"a":["q",[{"b":"x"}]]}
t~{"a.b":["x"],"a":["q"]}~{"a":[["q",{"b":"x"}]]}
f~{"a.b":["x"],"a":["q"]}~{"a":[["q"],{"b":"x"}]}
f~{"a.b":["x"],"a":["q"]}~{"a":[["q"],[{"b":"x"}]]}
t~{"a.b":["x"],"a.c":["y"],"a":["q"]}~{"a":["q",{"b":"x","c":"y"}]}
f~{"a.b":["x"],"a.c":["y"],"a":["q"]}~{"a":["q",{"b":"x"},{"c":"y"}]}
t~{"a":["q"],"a.b":[{"exists":false}]}~{"a":["q",{"c":"x"}]}
t~{"p":{"a":["q"]},"p.a.b":["x"]}~{"p.a":["q",{"b":"x"}]}
f~{"p":{"a":["q"]},"p.a.b":["x"]}~{"p.a":[["q"],{"b":"x"}]}
f~{"p":{"a":["q"]},"p.a.b":["x"]}~{"p.a":["r",{"b":"x"}]}
t~{"p":{"a":["q"]},"p.a.b":["x"]}~{"p.a":["q",[{"b":"x"}]],"p":{"a":"z"}}
t~{"p":{"a":["q"],"d":[1]},"p.a.b.c":["x"]}~{"p":{"d":1,"a":["q",{"b.c":"x"}]}}
t~{"$":[1]}~{"$":1}
t~{"$a":{"$b":[1]}}~{"$a":{"$b":1}}
t~{"":["x"]}~{"":"x"}
t~{"a":{"":["x"]}}~{"a":{"":"x"}}
f~{"a":{"":["x"]}}~{"a":"x"}
t~{"a":{" ":["x"]}}~{"a":{" ":"x"}}
t~{"prefix":["x"]}~{"prefix":"x"}
t~{"a":{"exists":["x"]}}~{"a":{"exists":"x"}}
t~{"anything-but":{"numeric":[1]}}~{"anything-but":{"numeric":1}}
\.

-- duplicate keys in pattern
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[1],"a":[2]}~{"a":2}
f~{"a":[1],"a":[2]}~{"a":1}
f~{"a":{"b":["1"]},"a":{"c":["2"]}}~{"a":{"c":"2"}}
t~{"a":{"b":["1"]},"a":{"c":["2"]}}~{"a":{"b":"1","c":"2"}}
t~{"a":{"b":[1]},"a.b":[2]}~{"a":{"b":2}}
f~{"a":{"b":[1]},"a.b":[2]}~{"a":{"b":1}}
t~{"a.b":[2],"a":{"b":[1]}}~{"a":{"b":1}}
t~{"l":[{"prefix":"us-"}],"l":[{"anything-but":"us-east"}]}~{"l":"eu-central-1"}
t~{"\u0061":[1],"a":[2]}~{"a":2}
\.

-- $or
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"$or":[{"a":[1]},{"b":[2]}]}~{"b":2}
f~{"$or":[{"a":[1]},{"b":[2]}]}~{"a":2,"b":1}
t~{"x":["y"],"$or":[{"a":[1]},{"b":[2]}]}~{"x":"y","b":2}
f~{"x":["y"],"$or":[{"a":[1]},{"b":[2]}]}~{"b":2}
t~{"d":{"$or":[{"a":[1]},{"b":[2]}]}}~{"d":{"b":2}}
f~{"d":{"$or":[{"a":[1]},{"b":[2]}]}}~{"b":2}
t~{"$or":[{"$or":[{"a":[1]},{"b":[2]}]},{"c":[3]}]}~{"b":2}
t~{"$or":[{"$or":[{"a":[1]},{"b":[2]}],"z":[0]},{"c":[3]}]}~{"b":2,"z":0}
f~{"$or":[{"$or":[{"a":[1]},{"b":[2]}],"z":[0]},{"c":[3]}]}~{"b":2}
t~{"a":["1"],"$or":[{"a":["2"]},{"b":["3"]}]}~{"a":"2"}
t~{"a":["1"],"$or":[{"a":["2"]},{"b":["3"]}]}~{"a":"1","b":"3"}
f~{"a":["1"],"$or":[{"a":["2"]},{"b":["3"]}]}~{"a":"1"}
f~{"a":["1"],"$or":[{"a":["2"]},{"b":["3"]}]}~{"b":"3"}
t~{"$or":[{"x":["a"]},{"x":["a","b"]}]}~{"x":"b"}
t~{"$or":[{"a":{"b":[1]}},{"c":[{"exists":false}]}]}~{}
t~{"$or":[{"a":[1]},{"a":[2]},{"a":[3]}]}~{"a":[9,3]}
f~{"p":{"x":[1],"$or":[{"y":[2]},{"z":[3]}]}}~{"p":[{"x":1},{"z":3}]}
t~{"p":{"x":[1],"$or":[{"y":[2]},{"z":[3]}]}}~{"p":[{"x":1},{"x":1,"z":3}]}
e:Unrecognized match type x~{"$or":[{"x":["1"]}],"y":["2"]}~{}
e:Empty arrays are not allowed~{"$or":[]}~{}
t~{"$or":["x","y"]}~{"$or":"y"}
f~{"$or":["x","y"]}~{}
t~{"$or":[{"prefix":"a"},{"suffix":"b"}]}~{"$or":"xb"}
f~{"$or":[{"prefix":"a"},{"suffix":"b"}]}~{"prefix":"a"}
t~{"$or":{"a":[1]}}~{"$or":{"a":1}}
e:~{"$or":[{"a":[1]},{}]}~{}
e:~{"$or":[{"a":[1]},"x"]}~{}
e:~{"$or":[{"a":[1]},{"prefix":["x"]}]}~{}
e:"$or" must be an object or an array~{"$or":"x"}~{}
f~{"$OR":[{"prefix":"a"}]}~{"$or":"a"}
\.

-- cidr
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[{"cidr":"10.0.0.0/24"}]}~{"a":"10.0.0.255"}
f~{"a":[{"cidr":"10.0.0.0/24"}]}~{"a":"10.0.0.256"}
f~{"a":[{"cidr":"10.0.0.0/24"}]}~{"a":"10.0.1.0"}
f~{"a":[{"cidr":"10.0.0.0/24"}]}~{"a":123}
t~{"a":[{"cidr":"10.1.2.3/8"}]}~{"a":"10.255.255.255"}
t~{"a":[{"cidr":"1.2.3.4/0"}]}~{"a":"255.255.255.255"}
f~{"a":[{"cidr":"1.2.3.4/0"}]}~{"a":"::1"}
t~{"a":[{"cidr":"10.0.0.2/31"}]}~{"a":"10.0.0.3"}
f~{"a":[{"cidr":"10.0.0.2/31"}]}~{"a":"10.0.0.4"}
t~{"a":[{"cidr":"10.0.0.128/25"}]}~{"a":"10.0.0.200"}
f~{"a":[{"cidr":"10.0.0.128/25"}]}~{"a":"10.0.0.127"}
t~{"a":[{"cidr":"10.16.0.0/13"}]}~{"a":"10.23.255.255"}
f~{"a":[{"cidr":"10.16.0.0/13"}]}~{"a":"10.24.0.0"}
t~{"a":[{"cidr":"2001:db8:1234:1a00::/64"}]}~{"a":"2001:0db8:1234:1a00:0000:0000:0000:0000"}
t~{"a":[{"cidr":"2001:DB8::/33"}]}~{"a":"2001:db8:7fff::1"}
f~{"a":[{"cidr":"2001:DB8::/33"}]}~{"a":"2001:db8:8000::1"}
t~{"a":[{"cidr":"::/0"}]}~{"a":"fe80::1"}
f~{"a":[{"cidr":"::/0"}]}~{"a":"10.0.0.1"}
t~{"a":[{"cidr":"fe80::/127"}]}~{"a":"FE80::1"}
f~{"a":[{"cidr":"fe80::/127"}]}~{"a":"fe80::2"}
f~{"a":[{"cidr":"fe80::/10"}]}~{"a":"fe80::1%eth0"}
t~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":"::ffff:a00:1"}
f~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":"::ffff:10.0.0.1"}
f~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":"a12::1"}
t~{"a":[{"cidr":"10.0.0.0/+8"}]}~{"a":"10.9.9.9"}
f~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":"10.0.0.0/8"}
f~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":"10.0.0"}
f~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":" 10.0.0.1"}
t~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":"010.0.0.1"}
t~{"a":[{"cidr":"10.0.0.0/8"}]}~{"a":["x","10.1.1.1"]}
e:Malformed CIDR, one '/' required~{"a":[{"cidr":"bad-filter"}]}~{}
e:Malformed CIDR, one '/' required~{"a":[{"cidr":"10.0.0.0/"}]}~{}
e:Malformed CIDR, one '/' required~{"a":[{"cidr":"10.0.0.0/8/8"}]}~{}
e:Malformed CIDR, mask bits must be an integer~{"a":[{"cidr":"bad-/64filter"}]}~{}
e:Malformed CIDR, mask bits must be an integer~{"a":[{"cidr":"10.0.0.0/8 "}]}~{}
e:Nonstandard IP address: xx.11.xx~{"a":[{"cidr":"xx.11.xx/8"}]}~{}
e:Nonstandard IP address: xxxx:db8:1234:1a00::~{"a":[{"cidr":"xxxx:db8:1234:1a00::/64"}]}~{}
e:prefix match pattern must be a string~{"a":[{"cidr":["bad-type"]}]}~{}
e:Malformed CIDR, mask bits must not be negative~{"a":[{"cidr":"10.0.0.0/-1"}]}~{}
e:IPv4 mask bits must be < 32~{"a":[{"cidr":"10.0.0.0/32"}]}~{}
e:IPv6 mask bits must be < 128~{"a":[{"cidr":"::/128"}]}~{}
e:Invalid IP address: 10.0.0.256~{"a":[{"cidr":"10.0.0.256/8"}]}~{}
e:Invalid IP address: 1:2:3::4::5~{"a":[{"cidr":"1:2:3::4::5/8"}]}~{}
t~{"a":["2001:db8::1"]}~{"a":"2001:0db8:0:0:0:0:0:1"}
t~{"a":["10.0.0.8"]}~{"a":"10.0.0.08"}
t~{"a":["10.0.0.08"]}~{"a":"10.0.0.8"}
t~{"a":["::FFFF"]}~{"a":"::ffff"}
f~{"a":["10.0.0.8"]}~{"a":"10.0.0.80"}
f~{"a":["10.0.8"]}~{"a":"10.0.08"}
f~{"a":["10.0.0.256"]}~{"a":"10.0.0.0256"}
t~{"a":["10.0.0.256"]}~{"a":"10.0.0.256"}
\.

-- event duplicates: last counts (jsonb)
COPY cases (expect, pattern, event) FROM stdin WITH (FORMAT csv, DELIMITER '~', QUOTE E'\x01');
t~{"a":[2]}~{"a":1,"a":2}
f~{"a":[1]}~{"a":1,"a":2}
\.

CREATE FUNCTION pg_temp.answer(event text, pattern text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN left(eventbridge.matches(event::jsonb, pattern::eventbridge.event_pattern)::text, 1);
EXCEPTION WHEN data_exception OR invalid_text_representation OR program_limit_exceeded THEN
	RETURN 'e:' || regexp_replace(sqlerrm, '^Event pattern is not valid. Reason: ', '');
END $$;

\pset format unaligned
SELECT id, expect, pattern, event, answer
  FROM cases, LATERAL pg_temp.answer(event, pattern) AS answer
 WHERE NOT starts_with(answer, expect) ORDER BY id;
SELECT expect ~ '^e:' AS error, count(*) FROM cases GROUP BY 1 ORDER BY 1;

-- every event against every pattern: alone, in a set, and by the index
CREATE TEMP TABLE pattern AS
	SELECT row_number() OVER (ORDER BY min(id))::int AS no, pattern::event_pattern
	  FROM cases WHERE expect IN ('t', 'f') GROUP BY pattern;
CREATE TEMP TABLE event AS
	SELECT row_number() OVER (ORDER BY min(id))::int AS no, event::jsonb
	  FROM cases WHERE expect IN ('t', 'f') GROUP BY event;
CREATE INDEX ON event USING gin (event event_ops);
CREATE INDEX ON pattern USING gin (pattern event_pattern_ops);
CREATE TEMP TABLE alone AS
	SELECT e.no AS event, p.no AS pattern FROM event e, pattern p WHERE matches(e.event, p.pattern) OFFSET 0;
CREATE TEMP TABLE in_set AS
	SELECT e.no AS event, unnest(match_any(e.event, patterns)) AS pattern
	  FROM event e, (SELECT event_pattern_set(pattern ORDER BY no) AS patterns FROM pattern) s;
SET enable_seqscan = off;
CREATE TEMP TABLE by_events AS
	SELECT e.no AS event, p.no AS pattern FROM pattern p, LATERAL (SELECT no FROM event WHERE event @~ p.pattern) e;
CREATE TEMP TABLE by_patterns AS
	SELECT e.no AS event, p.no AS pattern FROM event e, LATERAL (SELECT no FROM pattern WHERE pattern ~@ e.event) p;
RESET enable_seqscan;
SELECT count(*) > 1000 AS many FROM alone;
SELECT 'set' AS differs, d.* FROM ((TABLE alone EXCEPT TABLE in_set) UNION (TABLE in_set EXCEPT TABLE alone)) d
UNION ALL SELECT 'events', d.* FROM ((TABLE alone EXCEPT TABLE by_events) UNION (TABLE by_events EXCEPT TABLE alone)) d
UNION ALL SELECT 'patterns', d.* FROM ((TABLE alone EXCEPT TABLE by_patterns) UNION (TABLE by_patterns EXCEPT TABLE alone)) d;

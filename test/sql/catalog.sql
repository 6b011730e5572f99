-- What every object of the extension has to keep to, whatever it does.  The
-- queries list violations: none is expected.
CREATE TEMP VIEW member AS
	SELECT d.classid, d.objid
	FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'eventbridge';
CREATE TEMP VIEW member_proc AS
	SELECT p.*, l.lanname
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE ('pg_proc'::regclass, p.oid) IN (TABLE member);
SELECT count(*) > 0 AS there_are_some FROM member_proc;
-- the schema is the extension's own
SELECT e.extname, n.nspname, e.extrelocatable
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'eventbridge' AND (n.nspname <> 'eventbridge' OR e.extrelocatable);
-- nothing lies outside of it
SELECT pg_describe_object(classid, objid, 0)
FROM member CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) o
WHERE o.schema IS DISTINCT FROM 'eventbridge' AND o.type <> 'cast';
-- every object has a comment; a cast has that of its function, an operator
-- family that of its class, the sequence of a column that of the table
SELECT pg_describe_object(classid, objid, 0)
FROM member
WHERE classid NOT IN ('pg_cast'::regclass, 'pg_opfamily'::regclass)
  AND obj_description(objid, classid::regclass::name) IS NULL
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = member.classid AND d.objid = member.objid
                  AND d.deptype = 'i' AND d.refobjsubid > 0)
ORDER BY 1;
SELECT 'schema' WHERE obj_description('eventbridge'::regnamespace, 'pg_namespace') IS NULL;
-- a function in SQL or PL/pgSQL looks names up where nobody else can put any
SELECT oid::regprocedure, proconfig
FROM member_proc
WHERE lanname NOT IN ('c', 'internal') AND prosqlbody IS NULL
  AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(proconfig, '{}'))
ORDER BY 1;
-- a function that runs as its owner does so too, in whatever language
SELECT oid::regprocedure, proconfig
FROM member_proc
WHERE prosecdef AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(proconfig, '{}'))
ORDER BY 1;
-- a C function is in the extension's library
SELECT oid::regprocedure, probin
FROM member_proc
WHERE lanname = 'c' AND probin <> '$libdir/eventbridge'
ORDER BY 1;
-- an operator is defined, and so are those that it refers to; it and its
-- function agree
SELECT o.oid::regoperator
FROM pg_operator o LEFT JOIN pg_proc p ON p.oid = o.oprcode
WHERE ('pg_operator'::regclass, o.oid) IN (TABLE member)
  AND (p.oid IS NULL
	   OR o.oprcom <> 0 AND NOT EXISTS (SELECT FROM pg_operator c WHERE c.oid = o.oprcom AND c.oprcode <> 0 AND c.oprcom = o.oid)
	   OR o.oprnegate <> 0 AND NOT EXISTS (SELECT FROM pg_operator n WHERE n.oid = o.oprnegate AND n.oprcode <> 0 AND n.oprnegate = o.oid)
	   OR o.oprresult <> p.prorettype
	   OR (o.oprleft, o.oprright) <> (p.proargtypes[0], p.proargtypes[1]))
ORDER BY 1;
-- operators that mean the same cost the same, and are as safe
SELECT o.oid::regoperator, c.oid::regoperator
FROM pg_operator o JOIN pg_operator c ON c.oid = o.oprcom
	 JOIN pg_proc p ON p.oid = o.oprcode JOIN pg_proc q ON q.oid = c.oprcode
WHERE ('pg_operator'::regclass, o.oid) IN (TABLE member)
  AND (p.procost, p.provolatile, p.proisstrict, p.proparallel, p.proleakproof) IS DISTINCT FROM
	  (q.procost, q.provolatile, q.proisstrict, q.proparallel, q.proleakproof)
ORDER BY 1;
-- operator classes are valid, by the access method's own check
SELECT opcname
FROM pg_opclass
WHERE ('pg_opclass'::regclass, oid) IN (TABLE member) AND NOT amvalidate(oid)
ORDER BY 1;
-- casts are not implicit: they would make operators ambiguous
SELECT castsource::regtype, casttarget::regtype, castcontext
FROM pg_cast
WHERE ('pg_cast'::regclass, oid) IN (TABLE member) AND castcontext = 'i'
ORDER BY 1, 2;
-- functions whose result depends on their arguments alone are safe in
-- parallel workers
SELECT oid::regprocedure
FROM member_proc
WHERE provolatile = 'i' AND proparallel <> 's'
ORDER BY 1;
-- nobody but the owner writes to tables or sequences
SELECT c.oid::regclass, a.grantee::regrole, a.privilege_type
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE ('pg_class'::regclass, c.oid) IN (TABLE member)
  AND a.grantee <> c.relowner AND a.privilege_type <> 'SELECT'
ORDER BY 1, 2, 3;
-- the schema can be used by all, and changed by its owner alone
SELECT a.grantee, a.privilege_type
FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a
WHERE n.nspname = 'eventbridge' AND a.grantee <> n.nspowner AND (a.grantee, a.privilege_type) <> (0, 'USAGE');
SELECT has_schema_privilege('pg_monitor', 'eventbridge', 'USAGE') AS usage, has_schema_privilege('pg_monitor', 'eventbridge', 'CREATE') AS create;
-- a view shows what its reader may see, not what its owner may
SELECT c.oid::regclass
FROM pg_class c
WHERE ('pg_class'::regclass, c.oid) IN (TABLE member) AND c.relkind = 'v'
  AND NOT coalesce(c.reloptions, '{}') && '{security_invoker=true,security_barrier=true}'
ORDER BY 1;

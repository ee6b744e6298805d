-- A table that is joined with itself by an index, at random: more than the memory that is given to it.
create table t(id integer primary key, name text, value integer);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 500000)
insert into t select i, 'name ' || (i * 7919 % 500009), i * 104729 % 1000003 from n;
create index by_name on t(name);
select count(*), sum(a.value) from t a join t b on b.name = 'name ' || (a.value % 500009) where a.id % 40 = 0;

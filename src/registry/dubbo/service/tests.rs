use super::*;
use crate::{
    model::{Address, Port},
    registry::dubbo::metadata::Metadata,
};

fn instance(address: &str, metadata: &[(&str, &str)]) -> Endpoint {
    let mut endpoint = Endpoint::new(Address::parse(address).unwrap(), Port::new(20880).unwrap());
    endpoint.labels = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    endpoint
}

#[test]
fn instances_say_where_they_are_asked() {
    for (address, written, expected) in [
        ("10.0.0.1", r#"{"port":"20881","protocol":"dubbo","version":"1.0.0"}"#, Ok("10.0.0.1:20881")),
        ("10.0.0.1", r#"{"port":20881}"#, Ok("10.0.0.1:20881")),
        ("fd00::1", r#"{"port":"20881"}"#, Ok("[fd00::1]:20881")),
        ("10.0.0.1", r#"{"port":"50051","protocol":"tri"}"#, Ok("10.0.0.1:50051")),
        ("10.0.0.1", r#"{"port":"8080","protocol":"rest"}"#, Err("speaks rest")),
        ("10.0.0.1", r#"{"port":"0"}"#, Err("has no port")),
        ("10.0.0.1", "{}", Err("has no port")),
        ("10.0.0.1", "[", Err("is no JSON")),
        ("shop.internal", r#"{"port":"20881"}"#, Err("is no IP address")),
        ("127.0.0.1", r#"{"port":"20881"}"#, Err("is no address of another machine")),
        ("::ffff:127.0.0.1", r#"{"port":"20881"}"#, Err("is no address of another machine")),
        ("169.254.169.254", r#"{"port":"80"}"#, Err("is no address of another machine")),
        ("0.0.0.0", r#"{"port":"80"}"#, Err("is no address of another machine")),
        ("fe80::1", r#"{"port":"80"}"#, Err("is no address of another machine")),
    ] {
        let place = Place::of(&instance(address, &[(PARAMETERS, written)]));
        match expected {
            Ok(expected) => assert_eq!(place.unwrap().address.to_string(), expected, "{written}"),
            Err(expected) => assert!(place.as_ref().is_err_and(|why| why.contains(expected)), "{place:?}, {expected}"),
        }
    }
    assert!(Place::of(&instance("10.0.0.1", &[])).unwrap_err().contains("has no dubbo.metadata-service"));
    assert!(is_local(&instance("10.0.0.1", &[(STORAGE, "local")]).labels));
    assert!(!is_local(&instance("10.0.0.1", &[(STORAGE, "remote")]).labels));
}

#[test]
fn a_question_has_the_form_of_dubbo_s_protocol() {
    let question = question(7, "shop", "abc", "1.0.0");
    assert_eq!(question[..HEAD], [0xda, 0xbb, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, (question.len() - HEAD) as u8]);
    let mut reader = Reader::new(&question[HEAD..]);
    let words: Vec<String> = (0..6).map(|_| reader.value().unwrap().as_str().unwrap().to_owned()).collect();
    assert_eq!(words, ["2.0.2", SERVICE, "1.0.0", "getMetadataInfo", "Ljava/lang/String;", "abc"]);
    assert_eq!(reader.value().unwrap()["group"], "shop");
}

#[test]
fn heads_of_others_are_refused() {
    let of = |flags: u8, status: u8, length: u32| {
        let mut head = [0xda, 0xbb, flags, status, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
        head[12..].copy_from_slice(&length.to_be_bytes());
        head
    };
    assert_eq!(head(&of(0x02, 20, 9)), Ok(Head::Answer { number: 7, is_ok: true, length: 9 }));
    assert_eq!(head(&of(0x02, 40, 9)), Ok(Head::Answer { number: 7, is_ok: false, length: 9 }));
    assert_eq!(head(&of(0xe2, 0, 1)), Ok(Head::Other { length: 1 }));
    assert_eq!(head(&of(0x22, 20, 1)), Ok(Head::Other { length: 1 }));
    assert!(head(&of(0x17, 20, 9)).unwrap_err().contains("serialization 23"));
    assert!(head(&of(0x02, 20, u32::MAX)).unwrap_err().contains("4294967295 bytes"));
    assert!(head(b"HTTP/1.1 400 Bad").unwrap_err().contains("does not speak"));
}

/// An answer as Dubbo writes it: classes with their fields, a concurrent map, a sorted one.
fn metadata(app: &str, revision: &str) -> Vec<u8> {
    let mut body = vec![0x94];
    let class = |body: &mut Vec<u8>, name: &str, fields: &[&str]| {
        body.push(b'C');
        hessian::text(body, name);
        body.push(0x90 + fields.len() as u8);
        fields.iter().for_each(|field| hessian::text(body, field));
    };
    class(&mut body, "org.apache.dubbo.metadata.MetadataInfo", &["app", "revision", "services"]);
    body.push(0x60);
    hessian::text(&mut body, app);
    hessian::text(&mut body, revision);
    body.push(b'H');
    hessian::text(&mut body, "g/a.B:1.0:dubbo");
    let fields = ["name", "group", "version", "protocol", "port", "path", "params"];
    class(&mut body, "org.apache.dubbo.metadata.MetadataInfo$ServiceInfo", &fields);
    body.push(0x61);
    ["a.B", "g", "1.0", "dubbo"].iter().for_each(|text| hessian::text(&mut body, text));
    body.extend([0xd4, 0x51, 0x90]); // 20880
    hessian::text(&mut body, "a.B");
    hessian::map(&mut body, &[("weight", "50"), ("methods", "b")]);
    body.push(b'Z');
    hessian::map(&mut body, &[("dubbo", "2.0.2")]);
    body
}

#[test]
fn metadata_of_an_answer_is_that_of_a_report() {
    let text = answer(true, &metadata("shop", "abc")).unwrap();
    let read = Metadata::parse("shop", "abc", &text).unwrap();
    let shown: Vec<String> =
        read.offers.iter().map(|o| format!("{} {} {}", o.identity.service(), o.protocol, o.port.unwrap())).collect();
    assert_eq!((shown, read.problems.len()), (vec!["a.B:g:1.0 dubbo 20880".to_owned()], 0));
    assert_eq!(read.offers[0].labels.get("weight").map(|weight| &**weight), Some("50"));
}

#[test]
fn a_service_that_lies_is_told() {
    for (app, revision, expected) in
        [("other", "abc", "of application \"other\""), ("shop", "xyz", "of revision \"xyz\"")]
    {
        let text = answer(true, &metadata(app, revision)).unwrap();
        assert!(Metadata::parse("shop", "abc", &text).unwrap_err().contains(expected));
    }
    let mut exception = vec![0x93, b'H'];
    hessian::text(&mut exception, "detailMessage");
    hessian::text(&mut exception, "no such service");
    exception.push(b'Z');
    let whole = metadata("shop", "abc");
    for (is_ok, body, expected) in [
        (true, &b""[..], "is not understood: it ends"),
        (true, &whole[..whole.len() / 2], "is not understood: it ends"),
        (true, b"\x95", "has no metadata of that revision"),
        (true, b"\x91\x02no", "answers with \"no\", which is no metadata"),
        (true, &exception, "an exception: \"no such service\""),
        (false, b"\x04busy", "answers with an error: \"busy\""),
    ] {
        let read = answer(is_ok, body).unwrap_err();
        assert!(read.contains(expected), "{read}, not {expected}");
    }
}

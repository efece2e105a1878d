import com.alibaba.nacos.client.auth.ram.RamClientAuthServiceImpl;
import com.alibaba.nacos.plugin.auth.api.LoginIdentityContext;
import com.alibaba.nacos.plugin.auth.api.RequestResource;
import java.util.Properties;

/**
 * Prints what Nacos' own Java client adds to a request about a service, with an access key and a secret key:
 * Signature ACCESS_KEY SECRET_KEY GROUP NAME prints "ak", "data" and "signature", one in each line.
 * With DATA instead of GROUP and NAME it prints the signature of that alone.
 */
public class Signature {
    public static void main(String[] args) throws Exception {
        if (args.length == 3) {
            System.out.println(com.alibaba.nacos.client.auth.ram.utils.SignUtil.sign(args[2], args[1]));
            return;
        }
        Properties keys = new Properties();
        keys.setProperty("accessKey", args[0]);
        keys.setProperty("secretKey", args[1]);
        RamClientAuthServiceImpl auth = new RamClientAuthServiceImpl();
        auth.login(keys);
        RequestResource resource = RequestResource.namingBuilder().setGroup(args[2]).setResource(args[3]).build();
        LoginIdentityContext identity = auth.getLoginIdentityContext(resource);
        for (String key : new String[] {"ak", "data", "signature"}) {
            System.out.println(identity.getParameter(key));
        }
    }
}
